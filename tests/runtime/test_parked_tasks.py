from __future__ import annotations

import asyncio
import contextvars
import gc

import greenlet
import pytest

from nbtool.runtime.parked import park_until

VARIABLE = contextvars.ContextVar("VARIABLE", default="unset")


def run(coro):
    loop = asyncio.get_running_loop()
    task = loop.create_task(coro)
    park_until(loop, task)
    return task.result()


def wait_for(future):
    park_until(asyncio.get_running_loop(), future)
    return future.result()


async def answer(value, after_s=0.0):
    await asyncio.sleep(after_s)
    return value


@pytest.fixture(autouse=True)
def nothing_is_left(caplog):
    yield
    gc.collect()
    objects = gc.get_objects()
    left = [each for each in objects if isinstance(each, greenlet.greenlet) and each.parent]
    assert (left, caplog.get_records("call")) == ([], [])


async def test_variable_set_before_is_seen_inside_and_kept_after():
    async def look():
        await asyncio.sleep(0)
        return VARIABLE.get()

    VARIABLE.set("outer")
    assert (run(look()), VARIABLE.get()) == ("outer", "outer")


async def test_variable_set_by_another_task_meanwhile_is_not_seen():
    async def other():
        VARIABLE.set("other")
        return run(answer(VARIABLE.get(), after_s=0.002))

    VARIABLE.set("mine")
    task = asyncio.create_task(other())
    assert (run(answer(None, after_s=0.001)), VARIABLE.get(), await task) == (None, "mine", "other")


@pytest.fixture
def shared_context():
    return contextvars.copy_context()


async def test_task_that_shares_the_context_of_a_waiting_one_can_run(shared_context):
    loop = asyncio.get_running_loop()

    async def waits():
        return wait_for(loop.create_task(worker(), context=shared_context))

    async def worker():
        VARIABLE.set("kept from step to step")
        await asyncio.sleep(0.001)
        return VARIABLE.get()

    outer = loop.create_task(waits(), context=shared_context)
    assert await outer == "kept from step to step"


async def test_task_that_shares_the_context_cannot_change_it_while_it_is_in_use(shared_context):
    loop = asyncio.get_running_loop()

    async def waits():
        VARIABLE.set("cell one")
        run(answer(None, after_s=0.01))
        return VARIABLE.get()

    async def next_message():
        VARIABLE.set("cell two")

    first = loop.create_task(waits(), context=shared_context)
    second = loop.create_task(next_message(), context=shared_context)
    assert await asyncio.gather(first, second) == ["cell one", None]


async def test_callback_can_run_in_a_context_entered_below_the_innermost_one(shared_context):
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def waits():
        loop.call_soon(future.set_result, "called", context=shared_context)
        return contextvars.copy_context().run(wait_for, future)

    assert await loop.create_task(waits(), context=shared_context) == "called"


@pytest.fixture
def count_cancels():
    async def count(started):
        seen = 0
        try:
            started.set()
            run(asyncio.sleep(5))
        except asyncio.CancelledError:
            seen += 1
        outcomes = await asyncio.gather(asyncio.sleep(0.001), return_exceptions=True)
        return seen, outcomes, asyncio.current_task().cancelling()

    return count


async def test_cancelling_the_task_that_waits_is_delivered_exactly_once(count_cancels):
    started = asyncio.Event()
    task = asyncio.create_task(count_cancels(started))
    await started.wait()
    task.cancel()
    assert await task == (1, [None], 0)


async def test_cancelling_the_task_that_waits_reaches_what_it_waits_for():
    seen = []

    async def inner():
        try:
            await asyncio.sleep(5)
        except asyncio.CancelledError as exc:
            seen.append(exc.args)
            raise

    async def outer():
        run(inner())

    task = asyncio.create_task(outer())
    await asyncio.sleep(0.001)
    task.cancel("why")
    await asyncio.wait([task])
    assert (seen, task.cancelled()) == ([("why",)], True)


async def test_cancelling_the_parent_of_a_task_that_waits_reaches_it():
    async def child():
        run(asyncio.sleep(5))

    task = asyncio.create_task(child())
    parent = asyncio.ensure_future(asyncio.gather(task))
    await asyncio.sleep(0.001)
    parent.cancel()
    with pytest.raises(asyncio.CancelledError):
        await parent
    assert task.cancelled()


async def test_cancel_that_is_due_ends_a_wait_that_begins_then():
    async def outer():
        asyncio.current_task().cancel("due")
        run(asyncio.sleep(5))

    task = asyncio.create_task(outer())
    await asyncio.wait([task], timeout=2)
    assert task.cancelled()


async def test_timeout_round_a_call_ends_it_and_what_follows_can_await():
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):  # noqa: ASYNC100 - that the call below waits is the point
            run(asyncio.sleep(5))
    assert await answer("went on") == "went on"


async def test_task_group_ends_the_calls_of_its_other_tasks():
    async def fails():
        await asyncio.sleep(0.001)
        raise ValueError("seven")

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(fails())
            run(asyncio.sleep(5))

    with pytest.raises(ExceptionGroup) as caught:
        await main()
    assert [str(exc) for exc in caught.value.exceptions] == ["seven"]


async def test_cancel_after_the_future_is_done_comes_at_the_next_await():
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    async def outer():
        value = wait_for(future)
        await asyncio.sleep(0)
        return value

    task = loop.create_task(outer())
    await asyncio.sleep(0.001)
    future.set_result("done")
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()


async def test_task_is_the_plain_c_task_again_after_a_call():
    task = asyncio.current_task()
    run(answer(None))
    assert task.cancel == asyncio.Task.cancel.__get__(task)
