"""How many requests at once, how many a minute: for everybody who uses an LM, wherever."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import pickle
import threading

import pytest

from nbtool.errors import LMConfigurationError
from nbtool.lm.client import LM
from nbtool.lm.limits import MOST_AT_ONE_ADDRESS, Gate, Limits, Window
from nbtool.testing.answers import Answer, Failure, Hang
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

SLOW = Answer("x", delay_s=0.05)


@pytest.fixture
def connect(connect):
    """Each call makes its own request here, also where two are the same."""
    return functools.partial(connect, cache=False)


class Clock:
    """A clock that a test sets."""

    now_s = 100.0

    def __call__(self):
        return self.now_s


# -- gates ---------------------------------------------------------------------------------------


async def passing(gate, name, order, *, until=None):
    await gate.enter()
    order.append(name)
    try:
        await (until.wait() if until else asyncio.sleep(0))
    finally:
        gate.leave()


async def test_gate_lets_waiters_in_by_the_order_in_which_they_came():
    gate, order = Gate(2), []
    await asyncio.gather(*(passing(gate, n, order) for n in range(50)))

    assert order == list(range(50))
    assert gate.inside == 0


async def test_gate_never_lets_in_more_than_it_may():
    gate, inside = Gate(3), []

    async def look(name):
        await passing(gate, name, inside)
        inside.append(gate.inside)

    await asyncio.gather(*(look(f"{n}") for n in range(30)))

    assert max(count for count in inside if isinstance(count, int)) <= 3


async def test_waiter_that_is_cancelled_leaves_its_place_to_the_next():
    gate, order, held = Gate(1), [], asyncio.Event()
    first = asyncio.create_task(passing(gate, "first", order, until=held))
    second, third = (asyncio.create_task(passing(gate, n, order)) for n in ("second", "third"))
    await asyncio.sleep(0)
    second.cancel()
    held.set()
    await asyncio.gather(first, second, third, return_exceptions=True)

    assert (order, gate.inside) == (["first", "third"], 0)


async def test_waiter_that_is_cancelled_just_when_it_is_let_in_passes_its_place_on():
    gate, order = Gate(1), []
    await gate.enter()
    second, third = (asyncio.create_task(passing(gate, n, order)) for n in ("second", "third"))
    await asyncio.sleep(0)
    gate.leave()
    second.cancel()  # it was woken, and has not run yet
    await asyncio.gather(second, third, return_exceptions=True)

    assert (order, gate.inside) == (["third"], 0)


async def test_thousands_of_waiters_can_be_cancelled_at_once():
    gate = Gate(1)
    await gate.enter()
    waiting = [asyncio.create_task(passing(gate, n, [])) for n in range(20_000)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    async with asyncio.timeout(20):
        await asyncio.gather(*waiting, return_exceptions=True)
    gate.leave()

    assert gate.inside == 0
    await asyncio.wait_for(gate.enter(), 1)


def test_gate_serves_several_loops_in_threads_of_their_own():
    gate, seen = Gate(3), []

    async def enter_often():
        for _ in range(200):
            await gate.enter()
            seen.append(gate.inside)
            await asyncio.sleep(0)
            gate.leave()

    threads = [threading.Thread(target=lambda: asyncio.run(enter_often())) for _ in range(6)]
    [thread.start() for thread in threads]
    [thread.join(60) for thread in threads]

    assert len(seen) == 6 * 200
    assert (max(seen) <= 3, gate.inside) == (True, 0)


def test_waiter_whose_loop_was_closed_is_passed_over():
    gate = Gate(1)
    lost = asyncio.new_event_loop()
    lost.run_until_complete(gate.enter())
    waiting = lost.create_task(gate.enter())
    lost.run_until_complete(asyncio.sleep(0))
    lost.close()
    gate.leave()

    asyncio.run(asyncio.wait_for(gate.enter(), 1))
    waiting._log_destroy_pending = False  # it is lost on purpose


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # 3.12: threads and fork
def test_forked_child_has_all_places_free():
    gate = Gate(1)
    asyncio.run(gate.enter())
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            asyncio.run(asyncio.wait_for(gate.enter(), 5))
            os._exit(7)
        os._exit(1)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


# -- windows -------------------------------------------------------------------------------------


def test_window_has_room_up_to_its_limit():
    window = Window(3, 60, Clock())
    waits = []
    for _ in range(3):
        waits.append(window.wait_s(1))
        window.take(1)

    assert waits == [0, 0, 0]
    assert window.wait_s(1) == 60


def test_room_comes_back_when_the_oldest_amount_is_a_minute_old():
    clock = Clock()
    window = Window(10, 60, clock)
    window.take(6)
    clock.now_s += 20
    window.take(4)

    assert (window.wait_s(1), window.wait_s(7)) == (40, 60)
    clock.now_s += 40
    assert (window.wait_s(6), window.wait_s(7)) == (0, 20)


def test_corrected_estimate_makes_room_at_once():
    window = Window(10, 60, Clock())
    entry = window.take(10)
    assert window.wait_s(5) == 60
    window.correct(entry, 2)

    assert window.wait_s(5) == 0


def test_correction_that_comes_after_a_minute_counts_no_more():
    clock = Clock()
    window = Window(10, 60, clock)
    entry = window.take(5)
    clock.now_s += 61
    assert window.wait_s(10) == 0
    window.correct(entry, 1_000)

    assert window.wait_s(10) == 0


def test_amount_above_the_whole_limit_goes_alone():
    clock = Clock()
    window = Window(10, 60, clock)
    assert window.wait_s(1_000) == 0
    window.take(1_000)

    assert window.wait_s(1) == 60
    clock.now_s += 61
    assert window.wait_s(1_000) == 0


# -- limits --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["max_concurrency", "requests_per_minute", "tokens_per_minute"])
@pytest.mark.parametrize("limit", [0, -1, 1.5, "8", True], ids=repr)
def test_limit_that_is_none_is_refused(name, limit):
    with pytest.raises(LMConfigurationError, match=name) as caught:
        LM("openai/test", **{name: limit})

    assert "LM(..., " in caught.value.hint


def test_limits_cannot_be_set_for_one_call():
    with pytest.raises(LMConfigurationError, match="no option of a call"):
        LM("openai/test")("x", max_concurrency=2)


def test_pickled_limits_keep_their_numbers():
    given = {"max_concurrency": 2, "requests_per_minute": 30, "tokens_per_minute": 400}

    assert pickle.loads(pickle.dumps(Limits(**given))).given == given  # noqa: S301 - our own


async def test_hundred_calls_of_an_lm_with_eight_places_use_eight_connections(connect):
    async with ScriptedServer(default=SLOW) as server:
        lm = connect(server, max_concurrency=8)
        outputs = await asyncio.gather(*(lm.acall(f"q{i}") for i in range(100)))

        assert (server.connections_peak, server.in_flight_peak) == (8, 8)
    assert outputs == [["x"]] * 100


@pytest.mark.parametrize("model_type", ["chat", "text", "responses"])
async def test_places_hold_for_every_endpoint(connect, model_type):
    async with ScriptedServer(default=SLOW) as server:
        lm = connect(server, model_type=model_type, max_concurrency=2)
        await asyncio.gather(*(lm.acall(f"q{i}") for i in range(8)))

        assert (server.connections_peak, server.in_flight_peak) == (2, 2)


async def test_copies_share_the_places(connect):
    async with ScriptedServer(default=SLOW) as server:
        lm = connect(server, max_concurrency=2)
        lms = [lm, lm.copy(), lm.copy(temperature=0.5)]
        await asyncio.gather(*(one.acall("x") for one in lms * 3))

        assert server.in_flight_peak == 2


async def test_copy_with_a_limit_has_places_of_its_own(connect):
    async with ScriptedServer(default=SLOW) as server:
        lm = connect(server, max_concurrency=1)
        twin = lm.copy(max_concurrency=3)
        await asyncio.gather(*(one.acall("x") for one in [lm, twin] * 4))

        assert server.in_flight_peak == 4
    assert (lm.limits.given["max_concurrency"], twin.limits.given["max_concurrency"]) == (1, 3)


async def test_lms_without_a_limit_share_the_places_of_one_address(connect):
    async with ScriptedServer(default=Answer("x", delay_s=0.3)) as server:
        lms = [connect(server), connect(server)]
        calls = [lm.acall(f"q{i}") for lm in lms for i in range(MOST_AT_ONE_ADDRESS)]
        await asyncio.gather(*calls)

        assert server.connections_peak <= MOST_AT_ONE_ADDRESS


def test_one_lm_is_limited_over_several_loops_and_threads(connect):
    with ScriptedServer(default=SLOW) as server:
        lm = connect(server, max_concurrency=2)
        threads = [threading.Thread(target=lm, args=(f"q{i}",)) for i in range(10)]
        [thread.start() for thread in threads]
        [thread.join(30) for thread in threads]

        assert (len(server.requests), server.in_flight_peak) == (10, 2)


async def test_cancelled_call_frees_its_place(connect):
    async with ScriptedServer([Hang(), "fine"]) as server:
        lm = connect(server, max_concurrency=1)
        stuck = asyncio.create_task(lm.acall("x"))
        await server.wait_until(lambda: server.in_flight)
        waiting = asyncio.create_task(lm.acall("y"))
        await asyncio.sleep(0)
        stuck.cancel()

        assert await asyncio.wait_for(waiting, 5) == ["fine"]


async def test_retry_keeps_no_place_while_it_backs_off(connect):
    async with ScriptedServer([Failure(429, retry_after=1), "second", "first"]) as server:
        lm = connect(server, max_concurrency=1, num_retries=1)
        first = asyncio.create_task(lm.acall("a"))
        await server.wait_until(lambda: server.requests and not server.in_flight)
        second = await asyncio.wait_for(lm.acall("b"), 0.9)

        assert (second, await first) == (["second"], ["first"])


async def test_failed_call_frees_its_place(connect):
    async with ScriptedServer([Failure(400)] * 3 + ["fine"]) as server:
        lm = connect(server, max_concurrency=1)
        await asyncio.gather(*(lm.acall("x") for _ in range(3)), return_exceptions=True)

        assert await asyncio.wait_for(lm.acall("x"), 5) == ["fine"]


async def test_request_beyond_the_minute_waits_and_is_not_sent(connect):
    async with ScriptedServer(default="x") as server:
        lm = connect(server, requests_per_minute=2)
        await asyncio.gather(lm.acall("a"), lm.acall("b"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lm.acall("c"), 0.2)

    assert len(server.requests) == 2


async def test_tokens_of_a_minute_are_those_that_the_provider_counts(connect):
    costly = Answer("x", usage={"prompt_tokens": 90, "completion_tokens": 5, "total_tokens": 95})
    async with ScriptedServer([costly, "y"]) as server:
        lm = connect(server, tokens_per_minute=100)
        await lm.acall("a few words")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lm.acall("a few words, and some more of them"), 0.2)

    assert len(server.requests) == 1


async def test_estimate_that_was_too_high_is_given_back(connect):
    async with ScriptedServer(default="x") as server:
        lm = connect(server, tokens_per_minute=1_000)
        outputs = [await asyncio.wait_for(lm.acall("x", max_tokens=900), 5) for _ in range(3)]

    assert outputs == [["x"]] * 3
    assert server.requests[0].fields["max_tokens"] == 900


async def test_those_who_wait_for_the_minute_do_not_block_other_lms(connect):
    async with ScriptedServer(default="x") as server:
        slow, quick = connect(server, requests_per_minute=1), connect(server)
        waiting = [asyncio.create_task(slow.acall(f"q{i}")) for i in range(MOST_AT_ONE_ADDRESS + 5)]
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)

        assert await asyncio.wait_for(quick.acall("x"), 5) == ["x"]
        [task.cancel() for task in waiting]
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_wait_for_a_place_is_noted_in_the_step(connect):
    recorder = Recorder()
    async with ScriptedServer(default=Answer("x", delay_s=0.2)) as server:
        lm = connect(server, max_concurrency=1)
        with watching(recorder):
            await asyncio.gather(lm.acall("a"), lm.acall("b"))

    first, second = recorder.records()
    assert "waited_s" not in first.attributes
    assert second.attributes["waited_s"] >= 0.2
