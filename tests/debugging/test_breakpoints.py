"""Which steps a breakpoint stops at, and `nbtool.breakpoint()` inside of them."""

from __future__ import annotations

import asyncio
import logging

import pytest

import nbtool
from nbtool.debugging.breakpoints import Breakpoint, Spent, as_breakpoint
from nbtool.errors import DebugError
from nbtool.tracing.span import Run, Span


class Signed:
    class signature:  # noqa: N801 - named as a predictor's attribute
        __name__ = "QA"
        signature = "question -> answer"


def span(kind="tool", name="weather", subject=None, **inputs):
    return Span(Run(), None, kind, name, inputs, subject)


def function():
    """Be a tool's function."""


MATCHES = {
    "kind": ({"kind": "tool"}, span(), True),
    "other kind": ({"kind": "lm"}, span(), False),
    "name": ({"name": "weather"}, span(), True),
    "other name": ({"name": "other"}, span(), False),
    "both": ({"kind": "tool", "name": "other"}, span(), False),
    "tool by name": ({"tool": "weather"}, span(), True),
    "a module is no tool": ({"tool": "weather"}, span("module"), False),
    "tool": ({"tool": function}, span(subject=nbtool.Tool(function)), True),
    "other tool": ({"tool": len}, span(subject=nbtool.Tool(function)), False),
    "signature": ({"signature": "question->answer"}, span("predict", subject=Signed), True),
    "other signature": ({"signature": "a -> b"}, span("predict", subject=Signed), False),
    "no signature": ({"signature": "QA"}, span("predict"), False),
    "predicate": ({"when": lambda s: s.inputs["x"] > 3}, span(x=4), True),
    "predicate says no": ({"when": lambda s: s.inputs["x"] > 3}, span(x=2), False),
    "off": ({"is_on": False}, span(), False),
}


@pytest.mark.parametrize(("given", "step", "stops"), MATCHES.values(), ids=MATCHES)
def test_breakpoint_matches_the_steps_that_it_describes(given, step, stops):
    assert Breakpoint(**given).stops(step, "before", Spent()) is stops


def test_breakpoint_stops_at_its_own_point_only():
    found = Breakpoint(at="after")

    assert [found.stops(span(), at, Spent()) for at in ("before", "after", "failed")] == [
        False, True, False,
    ]  # fmt: skip


def test_breakpoint_stops_from_its_hit_on():
    found = Breakpoint(hits=3)

    assert [found.stops(span(), "before", Spent()) for _ in range(4)] == [False, False, True, True]
    assert found.matched == 4


def test_breakpoint_for_once_stops_once():
    found = Breakpoint(once=True)

    assert [found.stops(span(), "before", Spent()) for _ in range(2)] == [True, False]


@pytest.mark.parametrize(("given", "spent", "stops"), [
    ({"usd": 1.0}, Spent(0.9, 0), False),
    ({"usd": 1.0}, Spent(1.0, 0), True),
    ({"tokens": 100}, Spent(9.0, 99), False),
    ({"tokens": 100}, Spent(0.0, 100), True),
    ({"tokens": 100, "usd": 1.0}, Spent(2.0, 1), True),
], ids=["below", "usd", "few tokens", "tokens", "either"])  # fmt: skip
def test_budget_stops_when_it_is_reached(given, spent, stops):
    found = Breakpoint(**given)

    assert found.stops(span(), "after", spent) is stops
    assert not found.stops(span(), "after", spent)


@pytest.mark.parametrize("given", [{"at": "never"}, {"kind": "thing"}, {"hits": 0}], ids=repr)
def test_breakpoint_that_means_nothing_is_refused(given):
    with pytest.raises(DebugError):
        Breakpoint(**given)


@pytest.mark.parametrize(("wanted", "said"), [
    ("lm", "before kind='lm'"),
    ("weather", "before name='weather'"),
    (function, "before when=function"),
    (Breakpoint(at="failed"), "failed every step"),
], ids=["kind", "name", "predicate", "breakpoint"])  # fmt: skip
def test_short_forms_stand_for_breakpoints(wanted, said):
    assert str(as_breakpoint(wanted)) == said


def test_anything_else_is_no_breakpoint():
    with pytest.raises(DebugError, match="5 is no breakpoint"):
        as_breakpoint(5)


async def test_chain_stops_at_the_breakpoints_alone(agent, where):
    session = nbtool.debug(agent.acall(question="q"), breakpoints=["lm", "double"])
    seen = []
    while stops := await session.wait_paused(5):
        seen += where(stops)
        session.resume()

    assert seen == [("before", "dummy"), ("before", "double"), ("before", "dummy")]


async def test_chain_stops_when_its_tokens_are_used_up(agent, where):
    session = nbtool.debug(agent.acall(question="q"), breakpoints=[Breakpoint(tokens=1)])

    assert where(await session.wait_paused(5)) == [("after", "dummy")]
    assert session.spent.tokens > 1
    session.resume()
    assert (await session).answer == "seen"


async def test_predicate_that_raises_stops_there_and_is_switched_off(agent):
    session = nbtool.debug(agent.acall(question="q"), breakpoints=[lambda s: s.inputs["nothing"]])
    (stop,) = await session.wait_paused(5)

    assert "raised KeyError('nothing'); it is off" in stop.note
    session.resume()
    assert (await session).answer == "seen"


async def test_error_stops_where_it_was_raised_and_nowhere_else(where):
    def fail(x):
        raise ValueError(x)

    class Outer(nbtool.Module):
        async def aforward(self, x):
            return await nbtool.Tool(fail).acall(x=x)

    session = nbtool.debug(Outer().acall(x=1))

    assert where(await session.wait_paused(5)) == [("failed", "fail")]
    session.raise_()
    with pytest.raises(ValueError, match="1"):
        await session
    assert session.state == "failed"


async def test_same_exception_object_raised_again_stops_again(where):
    error = ValueError("always the same")

    def fail():
        raise error

    class Trying(nbtool.Module):
        async def aforward(self):
            for _ in range(2):
                try:
                    await nbtool.Tool(fail).acall()
                except ValueError:
                    continue
            return "done"

    session = nbtool.debug(Trying().acall())
    for _ in range(2):
        assert where(await session.wait_paused(5)) == [("failed", "fail")]
        session.raise_()
    assert await session == "done"


async def test_without_on_error_errors_go_as_they_would():
    def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await nbtool.debug(nbtool.Tool(fail).acall(), on_error=False)


async def test_breakpoint_on_failure_of_one_step_lets_others_fail(where):
    def fail(x):
        raise ValueError(x)

    class Two(nbtool.Module):
        async def aforward(self):
            tools = [nbtool.Tool(fail, name=name) for name in "ab"]
            return await asyncio.gather(*[t.acall(x=1) for t in tools], return_exceptions=True)

    found = Breakpoint(name="b", at="failed")
    session = nbtool.debug(Two().acall(), breakpoints=[found], on_error=False)

    assert where(await session.wait_paused(5)) == [("failed", "b")]
    session.skip(7)
    assert (await session)[1] == 7


# -- nbtool.breakpoint() -------------------------------------------------------------------------


def stops_in_sync(x):
    y = x + 1
    nbtool.breakpoint(shown=y)
    return y


async def stops_in_async(x):
    y = x + 1
    nbtool.breakpoint(shown=y)
    await asyncio.sleep(0)
    return y


@pytest.mark.parametrize("thread", [True, False], ids=["worker thread", "on the loop"])
@pytest.mark.parametrize("function", [stops_in_sync, stops_in_async], ids=["sync", "async"])
async def test_breakpoint_in_user_code_stops_inside_of_the_step(function, thread):
    session = nbtool.debug(nbtool.Tool(function, thread=thread).acall(x=4))
    (stop,) = await session.wait_paused(5)

    assert (stop.place, stop.span.name) == ("inside", function.__name__)
    assert (stop.values["x"], stop.values["y"], stop.values["shown"]) == (4, 5, 5)
    session.resume()
    assert await session == 5


async def test_stepping_goes_on_from_a_breakpoint_in_user_code(where):
    session = nbtool.debug(nbtool.Tool(stops_in_async).acall(x=4))
    await session.wait_paused(5)
    session.step_into()

    assert where(await session.wait_paused(5)) == [("after", "stops_in_async")]
    session.resume()
    await session


async def test_breakpoint_without_a_debugger_is_passed_in_a_script(caplog):
    with caplog.at_level(logging.WARNING):
        assert await nbtool.Tool(stops_in_async).acall(x=4) == 5

    assert "breakpoint() was passed" in caplog.text


def test_breakpoint_outside_of_any_chain_is_passed(caplog):
    assert stops_in_sync(4) == 5
    assert "breakpoint() was passed" in caplog.text
