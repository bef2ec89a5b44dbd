"""The debugger in real kernels: other cells run, cells are detached, tools are mended."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel

STEPS = """
from nbtool.testing import DummyLM

class CountingLM(DummyLM):
    async def aforward(self, prompt=None, messages=None, **options):
        log.append("lm")
        return await super().aforward(prompt, messages, **options)

def weather(city):
    log.append("weather")
    raise KeyError("temp")

async def news(city):
    log.append("news")
    await asyncio.sleep(0.01)
    return f"no news from {city}"

class Agent(nbtool.Module):
    def __init__(self):
        self.plan = nbtool.Predict("question -> plan")
        self.answer = nbtool.Predict("plan, observations -> answer")
        self.tools = [nbtool.Tool(news), nbtool.Tool(weather)]

    async def aforward(self, city):
        log.append("agent")
        planned = await self.plan.acall(question=city)
        seen = await asyncio.gather(*[tool.acall(city=city) for tool in self.tools])
        answered = await self.answer.acall(plan=planned.plan, observations=str(seen))
        return answered.answer, seen[1]

agent = Agent()
answers = {"observations": {"answer": "seen"}, "question": {"plan": "look"}}

def debugged(city="Rome", **options):
    session = nbtool.debug(agent.acall(city=city), **options)
    session.listen(lambda: session.state == "paused" and print("paused", flush=True))
    return session

nbtool.configure(lm=CountingLM(answers), show_trace="never")
log.clear()
"""
MEND = """
def weather(city):
    log.append("mended")
    return f"{city} is sunny"
"""
ONCE = "['agent', 'lm', 'lm', 'mended', 'news', 'weather']"


@pytest.fixture
def page(notebook):
    made = notebook.run(STEPS)
    assert made.status == "ok", made.traceback
    return Page(notebook)


class Page:
    """Runs cells, some of which wait for a chain that is paused."""

    def __init__(self, kernel):
        self.kernel = kernel

    def run(self, code):
        cell = self.kernel.run(code, timeout_s=20)
        assert cell.status == "ok", cell.traceback
        return cell.result_text

    def start(self, code, count=1):
        """Send a cell, and wait until its chain is paused."""
        cell = self.kernel.outputs_of(self.kernel.submit(code))
        self.kernel.wait_until(lambda: cell.stdout.count("paused") >= count, timeout_s=20)
        time.sleep(0.2)
        assert not cell.ended, cell.traceback
        return cell

    def interrupt(self, cell):
        self.kernel.interrupt()
        self.kernel.wait_for(cell.msg_id, timeout_s=10)
        assert cell.error_name == "Detached", cell.traceback


def test_paused_chain_in_the_background_is_mended_in_another_cell(page):
    page.run("session = debugged()\nNone")
    assert page.run("await session.wait_paused(10)").startswith("[<Stop failed tool 'weather'")
    page.run(MEND)

    assert page.run("session.retry(), await session") == "('', ('seen', 'Rome is sunny'))"
    assert page.run("sorted(log)") == ONCE


def test_steps_are_taken_in_cells(page):
    page.run("session = debugged(stop_first=True)\nNone")
    assert page.run("(await session.wait_paused(10))[0].span.name") == "'Agent'"
    page.run("session.step_into()")
    page.run("(await session.wait_paused(10))[0]\nsession.inputs['question'] = 'edited'")

    assert page.run(
        "session.step_into(); [s.span.name for s in await session.wait_paused(10)]"
    ) == ("['ChatAdapter.format']")
    page.run("session.stop()\nawait later()")


WAITS = {
    "await": "session = debugged()\nawait session",
    "result": "session = debugged()\nsession.result()",
    "run": "session = debugged()\nrun(session)",
    "wait_for": "session = debugged()\nawait asyncio.wait_for(session, 60)",
    "gather": "session = debugged()\nawait asyncio.gather(session, later())",
    "await main": "async def main():\n    global session\n    session = debugged()\n"
    "    return await session\nawait main()",
    "asyncio.run": "async def main():\n    global session, rest\n    session = debugged()\n"
    "    await session\n    rest = 'of main'\nasyncio.run(main())",
    "sync in async": "class Outer(nbtool.Module):\n    async def aforward(self, city):\n"
    "        return agent(city=city)\nsession = nbtool.debug(Outer().acall(city='Rome'))\n"
    "session.listen(lambda: session.state == 'paused' and print('paused', flush=True))\n"
    "await session",
}
ENDS = {
    "interrupt": "",
    "click": "threading.Timer(0.6, lambda: nbtool.paused()[0].detach()).start()\n",
}


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("way", WAITS)
def test_cell_that_waits_for_a_paused_chain_is_detached(page, way, end):
    cell = page.start(ENDS[end] + WAITS[way])
    if end == "interrupt":
        page.interrupt(cell)
    page.kernel.wait_for(cell.msg_id, timeout_s=10)

    assert (cell.error_name, cell.traceback.count("\n")) == ("Detached", 1)
    assert "paused at weather (failed)" in cell.traceback
    page.run(f"{MEND}\n(session,) = nbtool.paused()\nsession.retry()")
    assert page.run("await session") == "('seen', 'Rome is sunny')"
    assert page.run("sorted(log)") == ONCE
    if way == "asyncio.run":
        assert page.run("await later()\nrest") == "'of main'"


CALLS = {
    "await": "await agent.acall(city='Rome')",
    "call": "agent(city='Rome')",
    "await main": "async def main():\n    await agent.acall(city='Rome')\nawait main()",
    "asyncio.run": "async def main():\n    await agent.acall(city='Rome')\nasyncio.run(main())",
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_chain_that_hits_a_breakpoint_of_its_code_gets_a_debugger(page, call):
    page.run(
        "def weather(city):\n    said = city\n    print('paused', flush=True)\n"
        "    nbtool.breakpoint()\n    return said\nagent.tools[1].func = weather"
    )
    cell = page.start(call)
    page.interrupt(cell)

    assert page.run("(session,) = nbtool.paused()\nsession.paused[0].values['said']") == "'Rome'"
    assert page.run("session.resume(); await session") == "('seen', 'Rome')"


@pytest.mark.parametrize("group", ["gather", "TaskGroup"])
def test_all_chains_of_a_detached_cell_live_on(page, group):
    waits = {
        "gather": "await asyncio.gather(*pair)",
        "TaskGroup": "async def wait(s): await s\nasync with asyncio.TaskGroup() as tasks:\n"
        "    for each in pair: tasks.create_task(wait(each))",
    }
    cell = page.start(f"pair = [debugged('Rome'), debugged('Oslo')]\n{waits[group]}", count=2)
    page.kernel.interrupt()
    page.kernel.wait_for(cell.msg_id, timeout_s=10)

    assert cell.error_name in {"Detached", "ExceptionGroup"}
    page.run(f"{MEND}\nfor each in nbtool.paused(): each.retry()")
    assert page.run("[await each for each in pair]") == (
        "[('seen', 'Rome is sunny'), ('seen', 'Oslo is sunny')]"
    )


def test_main_of_an_earlier_cell_is_not_detached(page):
    page.run(
        "first = debugged('Oslo')\nasync def main(): return await first\n"
        "task = asyncio.create_task(main())\nawait first.wait_paused(10)"
    )
    cell = page.start("session = debugged()\nawait session")
    page.interrupt(cell)

    page.run(f"{MEND}\nfor each in nbtool.paused(): each.retry()")
    assert page.run("await task, await session") == (
        "(('seen', 'Oslo is sunny'), ('seen', 'Rome is sunny'))"
    )


@pytest.mark.parametrize("way", ["await", "result", "asyncio.run"])
def test_chain_that_runs_is_cancelled_by_an_interrupt_as_always(page, way):
    page.run(
        "class Slow(nbtool.Module):\n    async def aforward(self, city):\n"
        "        print('paused', flush=True)\n        await asyncio.sleep(60)\nagent = Slow()"
    )
    cell = page.start(WAITS[way])
    page.kernel.interrupt()
    page.kernel.wait_for(cell.msg_id, timeout_s=10)

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted", "InterruptedWait"}
    assert page.run("await later()\nsession.state") == "'stopped'"


def test_limit_on_a_paused_chain_is_a_timeout(page):
    cell = page.kernel.run("session = debugged()\nawait asyncio.wait_for(session, 0.5)")

    assert cell.error_name == "TimeoutError"
    assert page.run("session.state, nbtool.paused()") == "('stopped', [])"


def test_paused_chain_is_stopped(page):
    page.run("session = debugged()\nawait session.wait_paused(10)\nsession.stop()\nawait later()")

    assert page.run("session, nbtool.running()") == "(<Session Agent is stopped>, [])"


def test_other_cells_and_chains_run_while_one_is_paused(page):
    page.run("session = debugged()\nawait session.wait_paused(10)\nNone")

    assert page.run("run(later(1)), await later(2), nbtool.Tool(news)(city='Rome')") == (
        "(1, 2, 'no news from Rome')"
    )
    page.run("session.stop()\nawait later()")


def test_magic_debugs_the_calls_of_a_cell(page):
    cell = page.kernel.outputs_of(
        page.kernel.submit("%%debug_chain weather\nprint('on', flush=True)\nagent(city='Rome')")
    )
    page.kernel.wait_until(lambda: "on" in cell.stdout, timeout_s=20)
    time.sleep(1.0)
    page.kernel.interrupt()
    page.kernel.wait_for(cell.msg_id, timeout_s=10)

    assert cell.error_name == "Detached", cell.traceback
    page.run(f"{MEND}\n(session,) = nbtool.paused()\nsession.paused[0].span.name")
    page.run("session.resume(); await session.wait_paused(10)\nsession.retry()")
    assert page.run("await session") == "('seen', 'Rome is sunny')"


def test_recording_of_another_kernel_is_replayed(any_kernel, tmp_path):
    path, start = str(tmp_path / "run.jsonl"), f"import asyncio, nbtool\nlog = []\n{STEPS}"
    any_kernel.run(f"{start}{MEND}agent.tools[1].func = weather\ncall = agent.acall(city='Rome')")
    any_kernel.run(f"await call\ncall.trace.save({path!r})")
    any_kernel.restart()
    any_kernel.run(f"{start}\nnbtool.configure(lm=DummyLM([]))")
    cell = any_kernel.run(f"await nbtool.replay(agent, {path!r}), log")

    assert cell.result_text == "(('seen', 'Rome is sunny'), ['agent'])", cell.traceback
