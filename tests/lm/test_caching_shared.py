"""`LM` and identical requests at the same time, over real HTTP: one is made, and all get it."""

from __future__ import annotations

import asyncio

import pytest

from nbtool.errors import LMServerError
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = pytest.mark.api("LM.cache")


async def test_identical_calls_at_the_same_time_make_one_request(connect):
    async with ScriptedServer([Answer("Paris", delay_s=0.2)]) as server:
        lm, recorder = connect(server), Recorder()
        with watching(recorder):
            answers = await asyncio.gather(*(lm.acall("Capital?") for _ in range(20)))

    assert answers == [["Paris"]] * 20
    assert len(server.requests) == 1
    assert len(lm.history) == 20
    first, *others = recorder.records()
    assert (first.usage["total_tokens"], "shared" in first.attributes) == (2, False)
    assert {(len(step.usage), step.attributes.get("shared")) for step in others} == {(0, True)}


async def test_those_who_share_an_answer_get_copies(connect):
    async with ScriptedServer([Answer("Paris", delay_s=0.2)]) as server:
        lm = connect(server)
        first, second, third = await asyncio.gather(*(lm.aforward("x") for _ in range(3)))

    first.choices[0].message.content = second.choices[0].message.content = "spoilt"
    assert third.choices[0].message.content == "Paris"
    assert (first.usage.total_tokens, second.usage, third.usage) == (2, {}, {})
    assert "cache_hit" not in third


@pytest.mark.parametrize("number", [0, 1], ids=["the first", "another"])
async def test_cancelling_one_caller_does_not_cancel_the_others(connect, number):
    async with ScriptedServer([Answer("Paris", delay_s=0.5)]) as server:
        lm = connect(server)
        calls = [asyncio.ensure_future(lm.aforward("x")) for _ in range(3)]
        await server.wait_until(lambda: server.in_flight == 1)
        calls.pop(number).cancel()
        one, other = await asyncio.gather(*calls)

    assert (len(server.requests), server.aborted) == (1, 0)
    assert one.choices[0].message.content == other.choices[0].message.content == "Paris"
    # Whoever is left first answers for the tokens.
    assert (one.usage.total_tokens, other.usage) == (2, {})


async def test_last_caller_that_is_cancelled_takes_the_request_along(connect):
    async with ScriptedServer([Answer("x", delay_s=60), "Paris"]) as server:
        lm = connect(server)
        calls = [asyncio.ensure_future(lm.acall("x")) for _ in range(3)]
        await server.wait_until(lambda: server.in_flight == 1)
        for call in calls:
            call.cancel()
        await asyncio.wait(calls)
        await server.wait_until(lambda: server.aborted == 1)
        assert await lm.acall("x") == ["Paris"]


async def test_time_limit_of_one_caller_is_its_own(connect):
    async with ScriptedServer([Answer("Paris", delay_s=1.0)]) as server:
        lm = connect(server)
        patient = asyncio.ensure_future(lm.acall("x"))
        await server.wait_until(lambda: server.in_flight == 1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lm.acall("x"), 0.1)
        assert await patient == ["Paris"]


async def test_failure_reaches_each_caller_as_an_error_of_its_own(connect):
    async with ScriptedServer([Failure(500, delay_s=0.2)]) as server:
        lm = connect(server)
        calls = [lm.acall("x") for _ in range(3)]
        errors = await asyncio.gather(*calls, return_exceptions=True)

    assert {(type(error), error.status) for error in errors} == {(LMServerError, 500)}
    assert len(server.requests) == 1
    assert len(set(map(id, errors))) == 3


async def test_watched_caller_sees_tokens_while_others_share_its_request(connect):
    recorder = Recorder(wants_tokens=True)
    async with ScriptedServer([Answer("a b c d", chunk_delay_s=0.05)]) as server:
        lm = connect(server)
        with watching(recorder):
            calls = [asyncio.ensure_future(lm.acall("x")) for _ in range(2)]
            await server.wait_until(
                lambda: any(step.arrived.startswith("a b") for step in recorder.records())
            )
            answers = await asyncio.gather(*calls)

    assert answers == [["a b c d"]] * 2
    assert [request.streamed for request in server.requests] == [True]


async def test_streamed_answer_is_kept_like_any_other(connect):
    async with ScriptedServer(["a b", "never"]) as server:
        lm = connect(server)
        with watching(Recorder(wants_tokens=True)):
            await lm.acall("x")
        assert await lm.acall("x") == ["a b"]
