from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time

import greenlet
import pytest

from nbtool.errors import LoopError
from nbtool.runtime import parked
from nbtool.runtime.parked import park_until, parked_count
from nbtool.runtime.rehearsal import supported, why_not


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


async def driven(context):
    """Await what a greenlet hands to its parent, as SQLAlchemy's `greenlet_spawn` does."""
    result = context.switch()
    while not context.dead:
        result = context.switch(await result)
    return result


def nested(depth):
    async def one_deeper():
        await asyncio.sleep(0)
        return depth if depth == 0 else nested(depth - 1)

    return run(one_deeper())


def recursed(depth, call):
    return call() if depth == 0 else recursed(depth - 1, call)


async def tick_into(ticks):
    while True:
        ticks.append(await asyncio.sleep(0.001))


async def cancel_timers(count):
    loop = asyncio.get_running_loop()
    sooner = loop.call_later(30, int)  # as long as it is first, those behind it are not looked at
    for _ in range(count):
        loop.call_later(60, int).cancel()
        await asyncio.sleep(0)
    sooner.cancel()
    return len(loop._scheduled)


def call_often(count):
    loop = asyncio.get_running_loop()
    for number in range(count):
        loop.call_later(60, int).cancel()
        run(answer(number))


@pytest.fixture(autouse=True)
def nothing_is_left(caplog):
    yield
    gc.collect()
    objects = gc.get_objects()
    left = [each for each in objects if isinstance(each, greenlet.greenlet) and each.parent]
    assert (left, caplog.get_records("call")) == ([], [])


async def test_future_that_is_done_is_not_waited_for():
    future = asyncio.get_running_loop().create_future()
    future.set_result(7)
    assert wait_for(future) == 7


async def test_exception_of_the_future_is_left_in_it():
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("seven")

    with pytest.raises(ValueError, match="seven"):
        run(fails())


async def test_current_task_is_the_same_before_and_after():
    before = asyncio.current_task()
    inside = run(answer(None)) or asyncio.current_task()
    assert inside is before


async def test_current_task_is_none_in_a_callback_that_waited():
    seen = asyncio.get_running_loop().create_future()

    def callback():
        run(answer(None))
        seen.set_result(asyncio.current_task())

    asyncio.get_running_loop().call_soon(callback)
    assert await seen is None


async def test_timers_and_callbacks_go_on_while_a_call_waits():
    loop, seen = asyncio.get_running_loop(), []
    loop.call_later(0.002, seen.append, "timer")
    loop.call_soon(seen.append, "callback")
    loop.call_later(0.001, seen.append, "cancelled").cancel()
    run(answer(None, after_s=0.01))
    assert (seen, loop._timer_cancelled_count) == (["callback", "timer"], 0)


async def test_ticker_keeps_ticking_while_a_call_waits():
    ticks = []
    ticker = asyncio.create_task(tick_into(ticks))
    run(answer(None, after_s=0.1))
    assert ticker.cancel()
    assert len(ticks) > 3


async def test_waiting_takes_no_processor_time():
    before_s = time.thread_time()
    run(answer(None, after_s=0.3))
    assert time.thread_time() - before_s < 0.15


async def test_thread_can_wake_a_loop_on_which_a_call_waits():
    loop = asyncio.get_running_loop()
    future = loop.create_future()
    waker = threading.Timer(0.01, loop.call_soon_threadsafe, [future.set_result, "woken"])
    waker.start()
    assert wait_for(future) == "woken"
    waker.join()


async def test_sockets_are_served_while_a_call_waits():
    async def echo(reader, writer):
        writer.write(await reader.readline())
        writer.close()

    async def ask(port):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"hello\n")
        line = await reader.readline()
        writer.close()
        return line

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as server:
        assert run(ask(server.sockets[0].getsockname()[1])) == b"hello\n"


def test_generator_can_wait_between_its_values():
    def numbers():
        yield run(answer(1))
        yield run(answer(2))

    async def main():
        return list(numbers())

    assert asyncio.run(main()) == [1, 2]


async def test_asynchronous_generator_can_call_synchronously():
    async def numbers():
        yield run(answer(1))
        await asyncio.sleep(0)
        yield run(answer(2))

    assert [number async for number in numbers()] == [1, 2]


async def test_greenlet_of_other_code_is_refused():
    loop = asyncio.get_running_loop()

    def synchronous():
        with pytest.raises(LoopError, match="does not run below this call"):
            wait_for(loop.create_future())
        return why_not(loop)

    reason = greenlet.greenlet(synchronous).switch()
    assert (reason, why_not(loop)) == ("the caller is in a greenlet of other code", "")


async def test_greenlet_of_other_code_returns_to_the_stack_that_calls_it():
    async def await_in_greenlet():
        def synchronous():
            return [greenlet.getcurrent().parent.switch(answer(number)) for number in range(9)]

        return await driven(greenlet.greenlet(synchronous))

    async def call():
        return [run(answer(number)) for number in range(9)]

    mixed = [each() for each in [await_in_greenlet, call] * 5]
    assert await asyncio.gather(*mixed) == [list(range(9))] * 10


async def test_hundred_tasks_under_one_call_run_at_the_same_time():
    barrier = asyncio.Barrier(100)

    async def meet():
        async with barrier:
            return 1

    async def all_meet():
        return sum(await asyncio.gather(*[meet() for _ in range(100)]))

    assert run(all_meet()) == 100


async def test_calls_can_be_nested_in_each_other():
    assert nested(6) == 0


async def test_overlapping_calls_go_on_in_the_order_in_which_they_finish():
    order = []

    async def call(after_s):
        order.append(run(answer(after_s, after_s)))

    await asyncio.gather(call(0.03), call(0.01), call(0.02), call(0.0))
    assert order == [0.0, 0.01, 0.02, 0.03]


async def test_two_calls_can_wait_for_each_other():
    first, second = asyncio.Event(), asyncio.Event()

    async def call(mine, other):
        run(answer(None))
        mine.set()
        return run(asyncio.wait_for(other.wait(), 1))

    assert await asyncio.gather(call(first, second), call(second, first)) == [True, True]


async def test_three_hundred_calls_wait_at_the_same_time():
    loop = asyncio.get_running_loop()
    gate = loop.create_future()

    async def call(number):
        wait_for(gate)
        return number

    calls = [loop.create_task(call(number)) for number in range(300)]
    loop.call_later(0.1, lambda: gate.set_result(parked_count(loop)))
    assert sum(await asyncio.gather(*calls)) == 44850
    assert (gate.result(), parked_count(loop), len(loop._ready)) == (300, 0, 0)


async def test_call_at_the_bottom_of_a_deep_recursion_leaves_room_for_others():
    depth = sys.getrecursionlimit() // 2

    async def call():
        return recursed(50, lambda: run(answer(1, after_s=0.001)))

    async def all_call():
        return sum(await asyncio.gather(*[call() for _ in range(40)]))

    assert recursed(depth, lambda: run(all_call())) == 40


async def test_callbacks_that_wait_are_called_in_order():
    loop, order = asyncio.get_running_loop(), []

    def callback(number):
        order.append(run(answer(number)))

    [loop.call_soon(callback, number) for number in range(5)]
    await asyncio.sleep(0.05)
    assert order == [0, 1, 2, 3, 4]


async def test_plain_tasks_lose_no_turn_beside_calls_that_wait_again_and_again():
    async def plain():
        return [await asyncio.sleep(0, number) for number in range(200)]

    async def calls():
        return [run(answer(number)) for number in range(50)]

    plains, called = await asyncio.gather(plain(), calls())
    assert (plains, called) == (list(range(200)), list(range(50)))


def test_loops_of_two_threads_can_wait_at_the_same_time():
    meeting = threading.Barrier(2, timeout=5)
    results = []

    async def main():
        return run(asyncio.to_thread(meeting.wait)) in (0, 1) and run(answer("met"))

    threads = [threading.Thread(target=lambda: results.append(asyncio.run(main()))) for _ in "ab"]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert results == ["met", "met"]


async def test_new_loop_in_a_thread_can_be_waited_for():
    async def inner():
        return run(answer("inner"))

    assert run(asyncio.to_thread(asyncio.run, inner())) == "inner"


def test_debug_mode_changes_nothing(caplog):
    async def call(number):
        return run(answer(number, after_s=0.001))

    async def main():
        asyncio.get_running_loop().slow_callback_duration = 5
        return await asyncio.gather(*[call(number) for number in range(20)])

    assert asyncio.run(main(), debug=True) == list(range(20))


async def test_ten_thousand_calls_leave_nothing_behind():
    loop = asyncio.get_running_loop()
    call_often(1000)
    before = sys.getallocatedblocks()
    call_often(10_000)
    assert sys.getallocatedblocks() - before < 2000
    assert (len(loop._ready), len(loop._scheduled) < 300) == (1, True)
    await asyncio.sleep(0)
    assert (len(loop._ready), loop in parked._parkings) == (0, False)


async def test_timers_cancelled_during_one_long_call_are_forgotten():
    assert run(cancel_timers(2000)) < 300


async def test_waiting_outside_of_the_running_loop_is_refused():
    other = asyncio.new_event_loop()
    future = other.create_future()
    other.close()
    with pytest.raises(LoopError, match="does not run below this call"):
        park_until(other, future)


async def test_loop_of_asyncio_is_supported():
    assert why_not(asyncio.get_running_loop()) == ""


class NoLoop(asyncio.AbstractEventLoop):
    """Be an event loop that is not built on asyncio's."""

    def close(self):
        pass


class OwnQueueLoop(asyncio.SelectorEventLoop):
    """Be a loop that queues in its own way, as those of GUI toolkits do."""

    def call_soon(self, callback, *args, context=None):
        return super().call_soon(callback, *args, context=context)


class NamedLoop(asyncio.SelectorEventLoop):
    """Be a loop that changes nothing of how handles are called."""


LOOPS = [
    pytest.param(NoLoop, "NoLoop'> is no asyncio.BaseEventLoop", id="foreign"),
    pytest.param(OwnQueueLoop, "OwnQueueLoop'> has its own call_soon", id="own queue"),
    pytest.param(NamedLoop, "", id="subclass"),
]


@pytest.mark.parametrize(("kind", "reason"), LOOPS)
def test_reason_says_why_a_loop_is_not_supported(kind, reason):
    loop = kind()
    loop.close()
    assert (why_not(loop).endswith(reason), supported(loop)) == (True, not reason)
