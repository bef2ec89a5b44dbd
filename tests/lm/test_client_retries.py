"""What is sent again, how often, and how long after."""

from __future__ import annotations

import asyncio
import time

import pytest

from nbtool.errors import LMAuthError, LMError, LMRateLimitError, LMServerError, LMTransportError
from nbtool.lm.client import LM
from nbtool.lm.retry import is_retryable_lm_error
from nbtool.testing.answers import Answer, Drop, Failure
from nbtool.testing.ports import DeadPort
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder


@pytest.mark.parametrize(
    "failure",
    [Failure(429, retry_after=0), Failure(500), Failure(503), Failure(408), Drop(), Drop(40)],
    ids=["429", "500", "503", "408", "drop", "drop in body"],
)
async def test_passing_failure_is_tried_again(connect, failure):
    async with ScriptedServer([failure, "fine"]) as server:
        assert await connect(server, num_retries=1).acall("x") == ["fine"]

    assert len(server.requests) == 2


async def test_providers_own_wait_is_kept(connect):
    async with ScriptedServer([Failure(429, retry_after=0.8), "fine"]) as server:
        await connect(server, num_retries=1).acall("x")

    first, second = (request.at_s for request in server.requests)
    assert 0.8 <= second - first < 2  # the first wait of our own is 0.5 s at most


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 413, 422])
async def test_lasting_failure_is_not_tried_again(connect, status):
    async with ScriptedServer(default=Failure(status)) as server:
        with pytest.raises(LMError) as caught:
            await connect(server, num_retries=3).acall("x")

    assert len(server.requests) == 1
    assert not is_retryable_lm_error(caught.value)


async def test_used_up_budget_is_not_tried_again(connect):
    spent = Failure(429, "You exceeded your current quota", code="insufficient_quota")
    async with ScriptedServer(default=spent) as server:
        with pytest.raises(LMError) as caught:
            await connect(server, num_retries=3).acall("x")

    assert (caught.value.code, len(server.requests)) == ("lm_billing", 1)


@pytest.mark.parametrize("num_retries", [0, 2])
async def test_last_failure_is_raised_after_so_many_retries(connect, num_retries):
    async with ScriptedServer(default=Failure(429, retry_after=0)) as server:
        with pytest.raises(LMRateLimitError):
            await connect(server, num_retries=num_retries).acall("x")

    assert len(server.requests) == num_retries + 1


async def test_retries_of_the_call_win_over_the_models(connect):
    async with ScriptedServer(default=Failure(429, retry_after=0)) as server:
        with pytest.raises(LMRateLimitError):
            await connect(server, num_retries=5).acall("x", num_retries=1)

    assert len(server.requests) == 2


async def test_refused_connection_is_tried_again_and_then_raised(api_key):
    with DeadPort(refuses=True) as port:
        lm = LM("openai/test", api_base=port.base_url, api_key=api_key, num_retries=1)
        recorder = Recorder()
        with watching(recorder), pytest.raises(LMTransportError):
            await lm.acall("x")

    assert recorder.records()[0].attributes["retries"] == 1


async def test_retries_are_noted_in_the_step(connect):
    recorder = Recorder()
    script = [Failure(429, retry_after=0), Failure(429, retry_after=0), "fine"]
    async with ScriptedServer(script) as server:
        with watching(recorder):
            await connect(server, num_retries=3).acall("x")

    (step,) = recorder.records()
    assert (step.attributes["retries"], step.status) == (2, "ok")


async def test_cancel_ends_the_wait_for_a_retry(connect):
    async with ScriptedServer([Failure(429, retry_after=60), Answer("late")]) as server:
        call = asyncio.create_task(connect(server, num_retries=3).acall("x"))
        await server.wait_until(lambda: server.requests and not server.in_flight)
        await asyncio.sleep(0.05)
        call.cancel()
        started = time.perf_counter()
        with pytest.raises(asyncio.CancelledError):
            await call

    assert time.perf_counter() - started < 0.3
    assert len(server.requests) == 1


async def test_cancel_that_a_transport_swallows_is_not_followed_by_another_attempt():
    class Swallowing:
        attempts = 0

        async def complete(self, request):
            self.attempts += 1
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError as error:
                raise LMTransportError("the connection was closed") from error

    lm = LM("openai/test", num_retries=3)
    lm.transport = Swallowing()
    call = asyncio.create_task(lm.aforward("x"))
    await asyncio.sleep(0.05)
    call.cancel()
    await asyncio.wait([call], timeout=5)

    assert (call.done(), lm.transport.attempts) == (True, 1)


async def test_answer_that_cannot_be_used_is_asked_for_again(connect):
    async with ScriptedServer([Answer("x", n_choices=0), "fine"]) as server:
        assert await connect(server, num_retries=1).acall("x") == ["fine"]

    assert len(server.requests) == 2


async def test_retries_of_many_calls_do_not_come_at_the_same_moment(connect):
    failures = [Failure(503)] * 20
    async with ScriptedServer(failures, default="fine") as server:
        lm = connect(server, num_retries=3)
        await asyncio.gather(*(lm.acall(f"q{n}") for n in range(20)))

    again = sorted(request.at_s for request in server.requests[20:])
    assert again[-1] - again[0] > 0.1


@pytest.mark.api("LM.errors")
@pytest.mark.parametrize(
    ("error", "holds"),
    [(LMServerError("x"), True), (LMAuthError("x"), False), (ValueError("x"), False)],
    ids=["server", "auth", "no LM error"],
)
def test_retryable_errors_can_be_told(error, holds):
    assert is_retryable_lm_error(error) is holds
