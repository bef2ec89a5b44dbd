"""Programs over real HTTP: what bad answers and bad tools do to them, and that they go on."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from nbtool.configuration import context
from nbtool.errors import (
    AdapterParseError,
    ContextWindowExceededError,
    LMInvalidRequestError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    NbtoolError,
)
from nbtool.programs.predict import Predict
from nbtool.programs.react import ReAct
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.server import ScriptedServer
from nbtool.tools.tool import Tool

LONGEST_S = 20


def said(**fields):
    sections = [f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items()]
    return "\n\n".join([*sections, "[[ ## completed ## ]]"])


def choice(tool, arguments="{}"):
    return said(next_thought="Hm.", next_tool_name=tool, next_tool_args=arguments)


FINAL = said(reasoning="So.", answer="42")
RIGHT = said(answer="42")


@pytest.fixture
def ask(connect):
    """Run a program on scripted answers: its result or error, and the server afterwards."""

    async def asked(program, *script, timeout_s=LONGEST_S, **inputs):
        async with ScriptedServer(script) as server:
            waits = any(isinstance(step, Hang) for step in script)
            lm = connect(server, cache=False, timeout=0.5 if waits else LONGEST_S)
            with context(lm=lm):
                before = len(asyncio.all_tasks())
                call = program.acall(**(inputs or {"question": "?"}))
                (outcome,) = await asyncio.gather(
                    asyncio.wait_for(call, timeout_s), return_exceptions=True
                )
                await server.wait_until(lambda: not server.in_flight)
            tasks = [t.get_coro().__qualname__ for t in asyncio.all_tasks()]
        assert len([name for name in tasks if "LoggingWorker" not in name]) <= before + 1
        return outcome, server

    return asked


# -- answers -------------------------------------------------------------------------------------

FAILURES = {
    "400": (Failure(400, "no"), LMInvalidRequestError),
    "429": (Failure(429, retry_after=0), LMRateLimitError),
    "500": (Failure(500), LMServerError),
    "too long": (Failure(400, code="context_length_exceeded"), ContextWindowExceededError),
    "dropped": (Drop(40), NbtoolError),
    "silent": (Hang(), LMTimeoutError),
    "no JSON": (Answer(raw="<html>"), LMServerError),
    "cut JSON": (Answer(raw='{"choices": ['), LMServerError),
    "no choices": (Answer("x", n_choices=0), LMServerError),
    "null": (Answer(None), AdapterParseError),
    "empty": (Answer(""), AdapterParseError),
    "other fields": (said(question="?", reply="42"), AdapterParseError),
    "no fields": ("I cannot answer that.", AdapterParseError),
}


@pytest.mark.parametrize(("step", "kind"), FAILURES.values(), ids=FAILURES)
async def test_bad_answer_is_the_right_error_and_the_next_call_works(ask, step, kind):
    predict = Predict("question -> answer: int")
    error, _ = await ask(predict, step, step)  # what cannot be read is asked for again, as JSON
    prediction, _ = await ask(predict, RIGHT)

    assert isinstance(error, kind)
    assert isinstance(error, NbtoolError)
    assert (bool(str(error)), prediction.answer) == (True, 42)


@pytest.mark.parametrize("value", ["many", "4.5", "[1, 2]", '{"a": 1}', "\ufffd", ""])
async def test_answer_of_the_wrong_type_names_the_field_and_the_type(ask, value):
    error, _ = await ask(Predict("question -> answer: int"), *[said(answer=value)] * 2)

    assert isinstance(error, AdapterParseError)
    first = str(error.__cause__)  # before it was asked for again, as JSON
    assert ("'answer'" in first, "no int" in first) == (True, True)


async def test_error_of_a_predictor_says_which_answer_it_was(ask):
    step = said(answer="forty-two")
    error, _ = await ask(Predict("question -> answer: int"), step, step)

    assert "forty-two" in error.lm_response
    assert error.hint


# -- tools ---------------------------------------------------------------------------------------


def lookup(city: str, year: int = 2026) -> str:
    """Look a city up."""
    return f"{city} {year}"


async def lookup_async(city: str) -> str:
    """Look a city up."""
    return f"{city} async"


def broken(city: str) -> str:
    """Fail."""
    raise KeyError(city)


def odd(city: str):
    """Return what no JSON can hold."""
    return {threading.Lock(): object()}


class Unprintable:
    def __repr__(self):
        raise RuntimeError("no repr")

    __str__ = __repr__


def endless(city: str):
    """Return a container that contains itself."""
    found = [city]
    found.append(found)
    return found


def unprintable(city: str):
    """Return what cannot even be shown."""
    return Unprintable()


def react(*tools):
    return ReAct("question -> answer", tools=list(tools))


CITY = json.dumps({"city": "Bern"})
OBSERVED = {
    "fine": (lookup, CITY, "Bern 2026"),
    "asynchronous": (lookup_async, CITY, "Bern async"),
    "missing argument": (lookup, "{}", "city"),
    "unknown argument": (lookup, '{"city": "Bern", "planet": "Mars"}', "planet"),
    "argument of the wrong type": (lookup, '{"city": "Bern", "year": "soon"}', "year"),
    "raises": (broken, CITY, "KeyError: 'Bern'"),
}


@pytest.mark.parametrize(("tool", "arguments", "seen"), OBSERVED.values(), ids=OBSERVED)
async def test_what_a_tool_does_is_observed_and_the_agent_goes_on(ask, tool, arguments, seen):
    script = (choice(tool.__name__, arguments), choice("finish"), FINAL)
    prediction, server = await ask(react(tool), *script)

    assert seen in prediction.trajectory["observation_0"]
    assert (prediction.answer, len(server.requests)) == ("42", 3)
    assert seen in server.requests[1].prompt


@pytest.mark.parametrize("tool", [odd, endless, unprintable])
async def test_result_that_cannot_be_serialised_does_not_end_the_agent(ask, tool):
    script = (choice(tool.__name__, CITY), choice("finish"), FINAL)
    prediction, _ = await ask(react(tool), *script)

    assert prediction.answer == "42"


@pytest.mark.parametrize(
    "step",
    [
        pytest.param(choice("no_such_tool"), id="unknown tool"),
        pytest.param(choice("lookup", "city=Bern"), id="arguments are no JSON"),
        pytest.param(choice("lookup", "[1]"), id="arguments are no object"),
        pytest.param("I would rather talk.", id="no choice at all"),
    ],
)
async def test_choice_that_cannot_be_read_ends_the_search_and_gives_an_answer(ask, step, caplog):
    prediction, _ = await ask(react(lookup), step, step, FINAL)

    assert prediction.answer == "42"
    assert "ReAct stopped asking for tools" in caplog.text


async def test_tool_that_hangs_is_ended_with_its_caller(ask):
    ended = []

    async def slow(city: str) -> str:
        """Take for ever."""
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(city)

    outcome, server = await ask(react(slow), choice("slow", CITY), timeout_s=0.5)

    assert isinstance(outcome, TimeoutError)
    assert (ended, len(server.requests)) == (["Bern"], 1)


async def test_synchronous_tool_that_hangs_does_not_hold_its_caller(ask):
    release = threading.Event()

    def slow(city: str) -> str:
        """Take for ever."""
        release.wait(30)
        return city

    started = time.perf_counter()
    outcome, _ = await ask(react(slow), choice("slow", CITY), timeout_s=0.5)
    release.set()

    assert isinstance(outcome, TimeoutError)
    assert time.perf_counter() - started < 10


async def test_provider_that_fails_in_the_middle_ends_the_agent_with_its_error(ask):
    error, server = await ask(react(lookup), choice("lookup", CITY), Failure(401, "bad key"))

    assert (type(error).__name__, len(server.requests)) == ("LMAuthError", 2)


async def test_trajectory_that_grew_too_long_is_shortened(ask):
    too_long = Failure(400, code="context_length_exceeded")
    twice = (choice("lookup", CITY), choice("lookup", CITY))
    script = (*twice, too_long, choice("finish"), FINAL)
    prediction, server = await ask(react(lookup), *script)

    assert (prediction.answer, len(server.requests)) == ("42", 5)


# -- either kind of function ---------------------------------------------------------------------


def test_asynchronous_tool_is_called_where_a_synchronous_one_is_needed():
    assert Tool(lookup_async)(city="Bern") == "Bern async"


async def test_synchronous_tool_is_awaited_where_an_asynchronous_one_is_needed():
    assert await Tool(lookup).acall(city="Bern") == "Bern 2026"


def test_agent_with_an_asynchronous_tool_is_called_synchronously(connect):
    script = [choice("lookup_async", CITY), choice("finish"), FINAL]
    with ScriptedServer(script) as server, context(lm=connect(server)):
        prediction = react(lookup_async)(question="?")

    assert prediction.trajectory["observation_0"] == "Bern async"
