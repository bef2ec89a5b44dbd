"""Single flight by itself: who gets what, whoever leaves, on whatever loop."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import weakref

import pytest

from nbtool.lm.caching.flights import joined
from nbtool.runtime.door import run

pytestmark = pytest.mark.api("LM.cache")

who = contextvars.ContextVar("who")


class Request:
    """A request that ends when it is told to."""

    def __init__(self, outcome="answer"):
        self.outcome = outcome
        self.made = 0
        self.cancelled = 0
        self.seen_by = None
        self.has_begun = asyncio.Event()
        self.may_end = asyncio.Event()

    async def __call__(self):
        self.made += 1
        self.seen_by = who.get(None)
        self.has_begun.set()
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        if isinstance(self.outcome, BaseException):
            raise self.outcome
        return self.outcome


async def started(request, count, key="key"):
    """Let so many callers wait for one request."""
    callers = [asyncio.ensure_future(joined(key, request)) for _ in range(count)]
    await request.has_begun.wait()
    return callers


async def test_one_caller_is_the_first_and_all_get_the_answer():
    request = Request()
    callers = await started(request, 3)
    request.may_end.set()
    landed = await asyncio.gather(*callers)

    assert [(each.value, each.is_first) for each in landed] == [
        ("answer", True), ("answer", False), ("answer", False),
    ]  # fmt: skip
    assert request.made == 1


async def test_other_keys_are_other_requests():
    request = Request()
    request.may_end.set()
    await asyncio.gather(joined("one", request), joined("two", request))

    assert request.made == 2


async def test_request_that_has_ended_is_made_again():
    request = Request()
    request.may_end.set()
    await joined("key", request)
    await joined("key", request)

    assert request.made == 2


async def test_request_runs_in_the_context_of_the_first_caller():
    request = Request()
    who.set("first")
    callers = await started(request, 1)
    who.set("second")
    callers += [asyncio.ensure_future(joined("key", request))]
    request.may_end.set()
    await asyncio.gather(*callers)

    assert request.seen_by == "first"


async def test_caller_after_the_last_one_left_gets_a_request_of_its_own():
    request = Request()
    (caller,) = await started(request, 1)
    caller.cancel()
    await asyncio.sleep(0)
    request.may_end.set()
    landed = await joined("key", request)

    assert caller.cancelled() or caller.cancelling()
    assert (landed.value, landed.is_first, request.made, request.cancelled) == (
        "answer", True, 2, 1,
    )  # fmt: skip


async def test_cancelled_caller_returns_when_the_request_has_cleaned_up():
    request = Request()
    (caller,) = await started(request, 1)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller

    assert request.cancelled == 1


async def test_call_that_is_dropped_in_the_middle_takes_its_request_along():
    request = Request()
    caller = joined("key", request)
    caller.send(None)
    await asyncio.sleep(0)
    caller.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)

    assert (request.made, request.cancelled) == (1, 1)


async def test_error_is_one_object_for_each_caller_with_the_same_cause():
    cause = OSError("cause")
    request = Request(ValueError("bad", 7))
    request.outcome.__cause__ = cause
    callers = await started(request, 3)
    request.may_end.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)

    assert [(error.args, error.__cause__) for error in errors] == [(("bad", 7), cause)] * 3
    assert len(set(map(id, errors))) == 3


async def test_error_that_cannot_be_copied_is_raised_as_it_is():
    class StubbornError(Exception):
        def __reduce__(self):
            raise TypeError("no copies")

    request = Request(StubbornError())
    callers = await started(request, 2)
    request.may_end.set()
    errors = await asyncio.gather(*callers, return_exceptions=True)

    assert errors == [request.outcome] * 2


async def test_end_of_the_program_that_made_the_request_does_not_end_the_others():
    request = Request()
    own, other = await started(request, 2)
    (task,) = (task for task in asyncio.all_tasks() if task.get_name() == "nbtool request")
    task.cancel()
    request.has_begun.clear()
    await request.has_begun.wait()
    request.may_end.set()

    assert (await other).value == "answer"
    with pytest.raises(asyncio.CancelledError):
        await own


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(3)], ids=repr)
async def test_interrupt_reaches_the_first_caller_only(error):
    async def caught():
        try:
            await joined("key", request)
        except (KeyboardInterrupt, SystemExit) as raised:
            return raised

    request = Request(error)
    first = asyncio.ensure_future(caught())
    (other,) = await started(request, 1)
    request.may_end.set()
    assert await first is error
    request.outcome = "answer"

    assert (await other).value == "answer"


def test_calls_on_other_loops_make_requests_of_their_own():
    asked = []
    both = threading.Barrier(2)

    async def ask():
        asked.append(threading.current_thread())
        await asyncio.to_thread(both.wait, 30)  # neither ends before the other has begun
        return "answer"

    threads = [threading.Thread(target=lambda: run(joined("key", ask))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(set(asked)) == 2


async def test_call_in_a_thread_does_not_wait_for_a_loop_that_stands_still():
    request, values = Request(), []

    async def ask():
        return "its own"

    (stuck,) = await started(request, 1)
    thread = threading.Thread(target=lambda: values.append(run(joined("key", ask)).value))
    thread.start()
    thread.join(30)  # the loop stands still, and with it the first request
    request.may_end.set()
    await stuck

    assert values == ["its own"]


def test_request_that_a_closed_loop_left_behind_is_forgotten():
    abandoned, asked = Request(), Request()
    loop = asyncio.new_event_loop()
    loops = weakref.WeakSet([loop])
    task = loop.create_task(joined("key", abandoned))
    loop.run_until_complete(abandoned.has_begun.wait())
    loop.close()
    asked.may_end.set()

    assert asyncio.run(joined("key", asked)).value == "answer"
    del loop, task, abandoned
    gc.collect()
    assert not loops
