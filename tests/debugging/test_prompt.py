"""The debugger at a terminal, over a pty."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import textwrap
import time

import pytest

PROGRAM = """
import asyncio, nbtool

def look(city, day=1):
    if city == "nowhere":
        raise KeyError("bell \\a")
    return f"{city} is sunny on day {day}"

class Agent(nbtool.Module):
    async def aforward(self, city):
        return await nbtool.Tool(look).acall(city=city)

def plain(city, **options):
    print("RESULT", nbtool.debug(Agent().acall(city=city), **options).result())

async def main(city, **options):
    print("RESULT", await nbtool.debug(Agent().acall(city=city), **options))
"""


class Terminal:
    """Run a program at a terminal of its own."""

    def __init__(self, source, **env):
        self.number, other = pty.openpty()
        self.program = subprocess.Popen(  # noqa: S603 - the test's own program
            [sys.executable, "-c", textwrap.dedent(PROGRAM) + source],
            stdin=other, stdout=other, stderr=other, start_new_session=True,
            env={**os.environ, **env},
        )  # fmt: skip
        os.close(other)
        self.said = ""

    def read(self, until, within_s=30):
        """Return what the program says up to a text."""
        end_s = time.monotonic() + within_s
        start = len(self.said)
        while until not in self.said[start:]:
            assert time.monotonic() < end_s, self.said
            if select.select([self.number], [], [], 0.1)[0]:
                try:
                    self.said += os.read(self.number, 4096).decode(errors="replace")
                except OSError:  # the program has ended
                    break
        assert until in self.said[start:], self.said
        return self.said[start:]

    def type(self, line):
        os.write(self.number, f"{line}\n".encode())

    def close(self):
        if self.program.poll() is None:
            self.program.kill()
        self.program.wait()
        os.close(self.number)


@pytest.fixture
def terminal():
    started = []

    def start(source, **env):
        started.append(Terminal(source, **env))
        return started[-1]

    yield start
    for each in started:
        each.close()


CALLS = {
    "script": "plain('Rome', breakpoints=['look'])",
    "async main": "asyncio.run(main('Rome', breakpoints=['look']))",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_step_is_looked_at_edited_and_let_go(terminal, call):
    page = terminal(call)
    assert "before tool look" in page.read("(nbtool) ")
    page.type("inputs")
    assert 'city = "Rome"' in page.read("(nbtool) ")
    page.type('set city "Oslo"')
    page.read("(nbtool) ")
    page.type("next")
    assert "after tool look" in page.read("(nbtool) ")
    page.type("continue")

    assert "RESULT Oslo is sunny on day 1" in page.read("RESULT Oslo is sunny on day 1")
    assert page.program.wait(10) == 0


def test_failed_step_is_mended_at_the_prompt(terminal):
    page = terminal("plain('nowhere')")
    said = page.read("(nbtool) ")
    assert "failed tool look: KeyError: 'bell \\x07'" in said.replace("\\\\", "\\")
    assert "\x07" not in said
    page.type("retry")
    assert "failed tool look" in page.read("(nbtool) ")
    page.type('set city "Oslo"')
    page.read("(nbtool) ")
    page.type("retry")

    page.read("RESULT Oslo is sunny")


MISTAKES = {
    "unknown": ("dance", "'dance' is no command"),
    "no step": ("step 12345", "means nothing now"),
    "no number": ("step look", "is no step"),
    "no JSON": ("set city Oslo", "no JSON"),
    "unknown input": ("set town 1", "were refused"),
    "help": ("help", "let all branches run"),
    "list": ("list", "before tool look"),
}


@pytest.mark.parametrize(("line", "answer"), MISTAKES.values(), ids=MISTAKES)
def test_prompt_answers_whatever_is_typed_and_asks_again(terminal, line, answer):
    page = terminal("plain('Rome', breakpoints=['look'])")
    page.read("(nbtool) ")
    page.type(line)
    assert answer in page.read("(nbtool) ")
    page.type("c")

    page.read("RESULT Rome is sunny")


@pytest.mark.parametrize("ending", ["q\n", "\x04"], ids=["quit", "end of input"])
def test_chain_is_stopped_at_the_prompt(terminal, ending):
    page = terminal("plain('Rome', breakpoints=['look'])")
    page.read("(nbtool) ")
    os.write(page.number, ending.encode())

    page.read("CancelledError")
    assert page.program.wait(10) == 1


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_interrupt_at_the_prompt_ends_the_program_as_always(terminal, call):
    page = terminal(call)
    page.read("(nbtool) ")
    page.program.send_signal(2)

    page.read("KeyboardInterrupt")
    assert page.program.wait(10) != 0


def test_prompt_can_be_switched_off(terminal):
    page = terminal(
        "s = nbtool.debug(Agent().acall(city='Rome'), breakpoints=['look'])\n"
        "s.listen(lambda: s.state == 'paused' and s.resume())\nprint('RESULT', s.result())",
        NBTOOL_PROMPT="0",
    )

    assert "(nbtool)" not in page.read("RESULT Rome is sunny")
