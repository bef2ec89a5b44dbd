"""Mend and go on: Retry runs what is defined now, and nothing upstream twice."""

from __future__ import annotations

import asyncio
import sys
import types

import pytest

import nbtool
from nbtool.errors import DebugError
from nbtool.testing import DummyLM


@pytest.fixture
def cells():
    """Run cells in a module of their own, as a notebook's are in ``__main__``."""
    module = types.ModuleType("made_of_cells")
    module.nbtool = nbtool
    sys.modules[module.__name__] = module

    def run(source):
        exec(source, vars(module))  # noqa: S102 - the test's own
        return module

    yield run
    del sys.modules[module.__name__]


FIRST = """
ran = []

def weather(city):
    ran.append("weather")
    raise KeyError("temp")

@nbtool.traced
async def look(city):
    ran.append("look")
    raise KeyError("temp")

@nbtool.traced
def glance(city):
    ran.append("glance")
    raise KeyError("temp")

class Agent(nbtool.Module):
    def __init__(self, name):
        self.name = name
    async def aforward(self, city):
        ran.append(self.name)
        raise KeyError("temp")

class Sync(nbtool.Module):
    def forward(self, city):
        ran.append("sync")
        raise KeyError("temp")

class Thermometer:
    def read(self, city):
        ran.append("read")
        raise KeyError("temp")
"""
SECOND = """
def weather(city):
    ran.append("weather 2")
    return f"{city} is sunny"

@nbtool.traced
async def look(city):
    return f"{city} looks sunny"

@nbtool.traced
def glance(city):
    return f"{city} looks sunny"

class Agent(nbtool.Module):
    def __init__(self, name):
        self.name = name
    async def aforward(self, city):
        return f"{city} is sunny, says {self.name}"

class Sync(nbtool.Module):
    def forward(self, city):
        return f"{city} is sunny"

class Thermometer:
    def read(self, city):
        return f"{city} is warm"
"""
CALLS = {
    "plain function": (lambda m: nbtool.Tool(m.weather).acall(city="Rome"), "Rome is sunny"),
    "traced function": (lambda m: m.look("Rome"), "Rome looks sunny"),
    "module": (lambda m: m.Agent("me").acall(city="Rome"), "Rome is sunny, says me"),
    "sync module": (lambda m: m.Sync().acall(city="Rome"), "Rome is sunny"),
    "method": (lambda m: nbtool.Tool(m.Thermometer().read).acall(city="Rome"), "Rome is warm"),
}


@pytest.mark.parametrize(("call", "mended"), CALLS.values(), ids=CALLS)
async def test_retry_runs_the_redefinition(cells, call, mended):
    session = nbtool.debug(call(cells(FIRST)))
    (stop,) = await session.wait_paused(5)
    cells(SECOND)

    assert (stop.place, session.retry()) == ("failed", "")
    assert await session == mended


async def test_retry_runs_a_synchronous_step_on_its_own_stack(cells):
    async def main():
        return cells(FIRST).glance("Rome")

    session = nbtool.debug(main())
    await session.wait_paused(5)
    cells(SECOND)
    session.retry()

    assert await session == "Rome looks sunny"


async def test_later_calls_of_a_mended_tool_run_the_new_function(cells):
    tool = nbtool.Tool(cells(FIRST).weather)

    async def main():
        return [await tool.acall(city="Rome"), await tool.acall(city="Oslo")]

    session = nbtool.debug(main())
    await session.wait_paused(5)
    cells(SECOND)
    session.retry()

    assert await session == ["Rome is sunny", "Oslo is sunny"]
    assert cells("").ran == ["weather", "weather 2", "weather 2"]


async def test_tool_that_was_mended_takes_its_new_arguments(cells):
    tool = nbtool.Tool(cells(FIRST).weather)
    session = nbtool.debug(tool.acall(city="Rome"))
    await session.wait_paused(5)
    cells("def weather(city, day=1): return day")
    session.retry(inputs={"day": 3})

    assert await session == 3
    assert list(tool.args) == ["city", "day"]


async def test_closure_runs_again_and_retry_says_that_it_is_the_same(failing, ran):
    session = nbtool.debug(failing.acall(x=1))
    await session.wait_paused(5)

    assert "pass func=" in session.retry()
    await session.wait_paused(5)
    assert ran == ["look", "look"]
    session.stop()


async def test_given_function_runs_instead(failing):
    session = nbtool.debug(failing.acall(x=1))
    await session.wait_paused(5)
    session.retry(func=lambda x: x + 1)

    assert await session == 2


async def test_given_inputs_are_used(failing, ran):
    session = nbtool.debug(failing.acall(x=1))
    await session.wait_paused(5)
    session.retry(inputs={"x": 12})

    assert (await session, ran) == (12, ["look", "look"])
    assert session.call.trace.spans[0].inputs == {"x": 12}


async def test_each_attempt_is_kept_in_the_trace(failing):
    session = nbtool.debug(failing.acall(x=1))
    for _ in range(2):
        await session.wait_paused(5)
        session.retry()
    await session.wait_paused(5)
    session.skip(0)
    await session

    attempts = session.call.trace.spans[0].attributes["attempts"]
    assert [made["error"] for made in attempts] == ["KeyError"] * 3


async def test_nothing_upstream_runs_twice(agent, ran, cells):
    agent.tools.append(nbtool.Tool(cells(FIRST).weather, name="weather"))
    agent.tools[-1].func.__defaults__ = ("Rome",)
    agent.tools[-1] = nbtool.Tool(lambda x: cells("").weather("Rome"), name="weather")
    session = nbtool.debug(agent.acall(question="q"))
    await session.wait_paused(5)
    await asyncio.sleep(0.05)
    cells(SECOND)
    session.retry()

    assert (await session).answer == "seen"
    assert sorted(ran) == ["agent", "double", "lm", "lm", "slow"]


async def test_step_around_is_retried_with_what_was_paid_for_before(agent, ran):
    def fail(x):
        ran.append("fail")
        if ran.count("fail") < 2:
            raise KeyError("temp")
        return x

    agent.tools.append(nbtool.Tool(fail))
    session = nbtool.debug(agent.acall(question="q"))
    await session.wait_paused(5)
    await asyncio.sleep(0.05)
    told = session.repeats(at="Agent")
    session.retry(at="Agent")

    assert (await session).answer == "seen"
    assert sorted(told["served"]) == ["lm dummy", "tool double", "tool slow"]
    assert sorted(ran) == ["agent", "agent", "double", "fail", "fail", "lm", "lm", "slow"]


async def test_opaque_results_are_served_as_the_objects_they_were():
    made, failed = [], []

    def connect():
        made.append(object())
        return made[0]

    class Chain(nbtool.Module):
        async def aforward(self):
            connection = await nbtool.Tool(connect).acall()
            failed.append(connection)
            if len(failed) < 2:
                raise ValueError("no")
            return connection

    session = nbtool.debug(Chain().acall())
    await session.wait_paused(5)
    session.retry()

    assert await session is made[0]
    assert (len(made), failed) == (1, [made[0], made[0]])


async def test_fresh_retry_runs_everything_again(agent, ran):
    class Failing(nbtool.Module):
        async def aforward(self, question):
            await agent.tools[0].acall(x=1)
            if ran.count("double") < 2:
                raise ValueError("no")
            return "done"

    session = nbtool.debug(Failing().acall(question="q"))
    await session.wait_paused(5)
    session.retry(fresh=True)

    assert (await session, ran) == ("done", ["double", "double"])


class Refusing(nbtool.BaseLM):
    async def aforward(self, prompt=None, messages=None, **kwargs):
        raise ValueError("no")


@pytest.mark.parametrize("at", [None, "Predict"])
async def test_another_lm_takes_over(at):
    other = DummyLM([{"answer": "seen"}])
    predict = nbtool.Predict("question -> answer")
    session = nbtool.debug(predict.acall(question="q", lm=Refusing("refusing")))
    await session.wait_paused(5)
    session.retry(at=at, lm=other)

    assert (await session).answer == "seen"
    assert len(other.history) == 1


async def test_step_around_is_retried_as_it_is_defined_now(cells):
    made = cells(
        "class Outer(nbtool.Module):\n    def __init__(self, tool): self.tool = tool\n"
        "    async def aforward(self): return await self.tool.acall(x=1)"
    )

    def fail(x):
        raise KeyError(x)

    session = nbtool.debug(made.Outer(nbtool.Tool(fail)).acall())
    await session.wait_paused(5)
    cells("class Outer(nbtool.Module):\n    async def aforward(self): return 'without'")
    session.retry(at="Outer")

    assert await session == "without"


async def test_step_around_that_cannot_be_retried_as_asked_waits_there(failing, where):
    class Outer(nbtool.Module):
        async def aforward(self):
            return await failing.acall(x=1)

    session = nbtool.debug(Outer().acall())
    await session.wait_paused(5)
    session.retry(at="Outer", inputs={"other": 1})
    (stop,) = await session.wait_paused(5)

    assert (stop.place, stop.span.name) == ("failed", "Outer")
    assert "unexpected keyword argument" in stop.note
    session.skip("given up")
    assert await session == "given up"


async def test_retry_that_does_not_fit_changes_nothing(failing, where):
    session = nbtool.debug(failing.acall(x=1))
    await session.wait_paused(5)

    for given in ({"inputs": {"y": 1}}, {"inputs": {"x": "no"}}, {"inputs": "{"}, {"func": 5},
                  {"lm": DummyLM([])}, {"at": "nobody"}):  # fmt: skip
        with pytest.raises(DebugError):
            session.retry(**given)
    assert where(session.paused) == [("failed", "look")]
    session.skip(5)
    assert await session == 5


async def test_class_that_cannot_take_over_an_object_is_refused(cells):
    session = nbtool.debug(cells(FIRST).Agent("me").acall(city="Rome"))
    await session.wait_paused(5)
    cells("class Agent(int): pass")

    with pytest.raises(DebugError, match="cannot become one of the new class"):
        session.retry()
    session.skip("mended")
    assert await session == "mended"


async def test_error_that_is_let_go_is_the_one_that_was_raised(failing):
    session = nbtool.debug(failing.acall(x=1))
    await session.wait_paused(5)
    session.raise_()

    with pytest.raises(KeyError, match="temp"):
        await session
    assert session.state == "failed"


async def test_error_without_a_text_can_be_retried_and_stays_in_the_trace():
    class MuteError(Exception):
        def __str__(self):
            raise RuntimeError("no text")

    failures = [MuteError()]

    @nbtool.traced
    async def flaky():
        if failures:
            raise failures.pop()
        return "done"

    session = nbtool.debug(flaky())
    await session.wait_paused()
    session.retry(func=flaky)

    assert await session == "done"
    (attempts,) = [
        span.attributes["attempts"]
        for span in session.call.trace.spans
        if "attempts" in span.attributes
    ]
    assert attempts == [{"error": "MuteError", "message": "<its __str__ raised RuntimeError>"}]
