"""The door outside of kernels: scripts, IPython in a terminal, uvloop, marimo, loops that end."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
STRICT = (sys.executable, "-X", "dev", "-W", "error")
ENVIRON = {
    "PATH": os.environ["PATH"],
    "TERM": "dumb",
    "PYTHONPATH": str(CHECKOUT),
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}


@pytest.fixture
def start(tmp_path):
    """Start a program from its source; what it prints can be read."""
    started = []

    def program(source, *command):
        path = tmp_path / "app.py"
        path.write_text(source, encoding="utf-8")
        started.append(
            subprocess.Popen(  # noqa: S603 - our own interpreter and sources
                [*(command or STRICT), str(path)],
                env={**ENVIRON, "HOME": str(tmp_path)},
                cwd=tmp_path,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
        )
        return started[-1]

    yield program
    [each.kill() for each in started if each.poll() is None]


def said(process):
    out, err = process.communicate(timeout=40)
    return out, err, process.returncode


@pytest.fixture
def other_python(made):
    def python(name):
        environment = made(name)
        if environment.python is None:
            pytest.skip(f"not run: {name} could not be made: {environment.reason}")
        return str(environment.python)

    return python


@pytest.mark.behaviour(6)
def test_script_keeps_its_loop_and_asyncio_run_still_works(start):
    process = start(
        "import asyncio, nbtool\n"
        "async def loop(): return asyncio.get_running_loop()\n"
        "async def main(): return nbtool.run(asyncio.sleep(0, 'main'))\n"
        "print(nbtool.run(loop()) is nbtool.run(loop()), asyncio.run(main()),\n"
        "      nbtool.run(asyncio.sleep(0, 'after')), asyncio.Task.__module__)\n"
    )

    assert said(process) == ("True main after _asyncio\n", "", 0)


MANY = """
import asyncio, gc, greenlet, nbtool, sys
async def later(n):
    await asyncio.sleep(0.05)
    if n == {fails}: raise ValueError(n)
    return n
async def sync(n): return nbtool.run(later(n))
async def main():
    global loop
    loop = asyncio.get_running_loop()
    loop.slow_callback_duration = 5  # a parked call is one, and asyncio would say so
    print("on", flush=True)
    return await asyncio.gather(*[sync(n) for n in range(50)])
try:
    {call}
except BaseException as error: print(type(error).__name__)
gc.collect()
left = [each for each in gc.get_objects() if isinstance(each, greenlet.greenlet) and each.parent]
print(loop.is_closed(), left)
"""
ENDING = {
    "asyncio.run": "print(sum(asyncio.run(main())))",
    "Runner": "with asyncio.Runner() as runner: print(sum(runner.run(main())))",
    "anyio.run": "import anyio; print(sum(anyio.run(main)))",
}


@pytest.mark.behaviour(36)
@pytest.mark.parametrize(("fails", "told"), [(-1, "1225"), (7, "ValueError")])
@pytest.mark.parametrize("call", ENDING.values(), ids=ENDING)
def test_loop_that_ends_gives_the_right_results_and_leaves_nothing(start, call, fails, told):
    process = start(MANY.format(call=call, fails=fails))

    assert said(process) == (f"on\n{told}\nTrue []\n", "", 0)


@pytest.mark.behaviour(36)
@pytest.mark.parametrize("call", ENDING.values(), ids=ENDING)
def test_ctrl_c_ends_fifty_parked_calls_on_a_loop_that_ends(start, call):
    # Without -X dev: asyncio would tell that a parked call is a slow callback.
    process = start(MANY.replace("0.05", "60").format(call=call, fails=-1), sys.executable)
    assert process.stdout.readline() == "on\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)

    assert said(process) == ("KeyboardInterrupt\nTrue []\n", "", 0)


@pytest.mark.behaviour(36)
async def test_fifty_gathered_synchronous_calls_work_on_the_loop_of_pytest():
    import asyncio

    from nbtool import run

    async def sync(number):
        return run(asyncio.sleep(0.01, number))

    assert await asyncio.gather(*[sync(number) for number in range(50)]) == list(range(50))


@pytest.mark.behaviour(37)
@pytest.mark.parametrize("how", ["asyncio.run(main())", "nbtool.run(main())"])
def test_limit_of_four_finishes_a_hundred_modules_nested_three_deep(start, how):
    process = start(
        "import asyncio, nbtool\n"
        "nbtool.configure(async_max_workers=4)\n"
        "class Nested(nbtool.Module):\n"
        "    def forward(self, levels):\n"
        "        return nbtool.run(Nested().acall(levels - 1)) + 1 if levels else 0\n"
        "async def main():\n"
        "    return sum(await asyncio.gather(*[Nested().acall(3) for _ in range(100)]))\n"
        f"print({how})\n"
    )

    assert said(process) == ("300\n", "", 0)


@pytest.mark.behaviour(38)
def test_ctrl_c_stops_blocking_code_of_forward_in_the_callers_thread_at_once(start):
    process = start(
        "import nbtool, threading, time\n"
        "class Blocking(nbtool.Module):\n"
        "    def forward(self):\n"
        "        print(threading.current_thread().name, flush=True)\n"
        "        time.sleep(60)\n"
        "try: Blocking()()\n"
        "except KeyboardInterrupt: print('stopped')\n"
    )
    assert process.stdout.readline() == "MainThread\n"
    began_s = time.monotonic()
    process.send_signal(signal.SIGINT)

    assert said(process) == ("stopped\n", "", 0)
    assert time.monotonic() - began_s < 2


@pytest.mark.behaviour(38)
@pytest.mark.kernel
def test_interrupt_stops_blocking_code_of_forward_in_a_cell_at_once(notebook):
    cell = notebook.outputs_of(
        notebook.submit(
            "class Blocking(nbtool.Module):\n"
            "    def forward(self):\n"
            "        print(threading.current_thread().name, flush=True)\n"
            "        time.sleep(60)\n"
            "Blocking()()"
        )
    )
    notebook.wait_until(lambda: cell.stdout)
    began_s = time.monotonic()
    notebook.interrupt()

    assert notebook.wait_for(cell.msg_id).error_name == "KeyboardInterrupt"
    assert (cell.stdout, time.monotonic() - began_s < 2) == ("MainThread\n", True)


@pytest.mark.behaviour(29)
@pytest.mark.place("uvloop")
@pytest.mark.other_environment
def test_uvloop_takes_the_rung_of_the_loop_thread(start, other_python):
    process = start(
        "import asyncio, nbtool, threading, uvloop\n"
        "async def where(): await asyncio.sleep(0); return threading.current_thread().name\n"
        "async def main():\n"
        "    task = asyncio.ensure_future(asyncio.sleep(9))\n"
        "    print(nbtool.run(where()), nbtool.environment().door)\n"
        "    try: nbtool.run(task)\n"
        "    except nbtool.LoopError as error: print(type(error).__name__)\n"
        "    task.cancel()\n"
        "uvloop.run(main())\n",
        other_python("uvloop"),
    )

    assert said(process) == ("nbtool-loop loop thread\nNestedLoopError\n", "", 0)


@pytest.mark.place("marimo")
@pytest.mark.behaviour(2)
@pytest.mark.other_environment
def test_cells_of_marimo_can_run(start, tmp_path, other_python):
    process = start(
        "import marimo\n"
        "app = marimo.App()\n"
        "@app.cell\n"
        "def _():\n"
        "    import asyncio, nbtool\n"
        "    print('sync', nbtool.run(asyncio.sleep(0.01, 'ran')), nbtool.environment().door)\n"
        "    return asyncio, nbtool\n"
        "@app.cell\n"
        "async def _(asyncio, nbtool):\n"
        "    await asyncio.sleep(0)\n"
        "    print('async', nbtool.run(asyncio.sleep(0.01, 'ran')))\n"
        "    return\n",
        *(other_python("marimo"), "-m", "marimo", "export", "html", "-o", "app.html"),
    )

    assert said(process)[2] == 0
    shown = (tmp_path / "app.html").read_text("utf-8")
    assert re.findall(r"(?:a?sync) ran\b[^\\<]*", shown)[:2] == [
        "sync ran parked",
        "async ran",
    ]


class Terminal:
    """IPython in a terminal."""

    def __init__(self, python, folder):
        self.ours, theirs = pty.openpty()
        self.program = subprocess.Popen(  # noqa: S603 - as above
            [python, "-m", "IPython", "--no-banner", "--simple-prompt", "--colors=NoColor"],
            env={**ENVIRON, "HOME": str(folder)},
            cwd=folder,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.shown = ""

    def type(self, line, until):
        """Type a line and wait for a text; return all that was shown since."""
        before = len(self.shown)
        os.write(self.ours, f"{line}\n".encode())
        return self.read(until, before)

    def read(self, until, before=0, timeout_s=15):
        deadline_s = time.monotonic() + timeout_s
        while not re.search(until, self.shown[before:]):
            assert time.monotonic() < deadline_s, self.shown
            if select.select([self.ours], [], [], 0.1)[0]:
                self.shown += os.read(self.ours, 4096).decode()
        return self.shown[before:]

    def close(self):
        self.program.kill()
        self.program.wait()
        os.close(self.ours)


@pytest.fixture
def terminal(tmp_path, other_python):
    started = Terminal(other_python("newest"), tmp_path)
    started.read(r"In \[1\]")
    yield started
    started.close()


@pytest.mark.behaviour(7)
@pytest.mark.place("ipython")
def test_terminal_of_ipython_shares_its_loop_with_top_level_await(terminal):
    terminal.type("import asyncio, nbtool", r"In \[2\]")
    terminal.type("async def loop(): return asyncio.get_running_loop()", r"In \[3\]")

    shown = terminal.type("print('same', nbtool.run(loop()) is (await loop()))", r"same \w+")
    assert "same True" in shown


@pytest.mark.behaviour(7)
@pytest.mark.place("ipython")
@pytest.mark.parametrize("wait", ["asyncio.sleep(60)", "asyncio.to_thread(__import__, 'time')"])
def test_ctrl_c_in_the_terminal_of_ipython_ends_the_chain_only(terminal, wait):
    terminal.type("import asyncio, nbtool, time", r"In \[2\]")
    terminal.type(
        f"async def chain():\n  try: print('o'+'n'); await {wait}; await asyncio.sleep(60)\n"
        "  finally: print('end'+'ed')\n\n",
        r"In \[3\]",
    )
    terminal.type("nbtool.run(chain())", r"\bon\r")
    time.sleep(1.0)
    os.killpg(terminal.program.pid, signal.SIGINT)
    assert "KeyboardInterrupt" in terminal.read(r"(?s)ended\r.*KeyboardInterrupt.*In \[4\]")

    assert "next 7" in terminal.type("print('next', nbtool.run(asyncio.sleep(0, 7)))", r"next \d")
