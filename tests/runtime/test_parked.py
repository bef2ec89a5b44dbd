from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import greenlet
import pytest

from nbtool.errors import LoopError
from nbtool.runtime.parked import park_until, parked_count, supported, why_not

ROOT = Path(__file__).resolve().parents[2]
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


def nested(depth):
    async def one_deeper():
        await asyncio.sleep(0)
        return depth if depth == 0 else nested(depth - 1)

    return run(one_deeper())


async def tick_into(ticks):
    while True:
        ticks.append(await asyncio.sleep(0.001))


async def cancel_timers(count):
    loop = asyncio.get_running_loop()
    for _ in range(count):
        loop.call_later(60, int).cancel()
        await asyncio.sleep(0)
    return len(loop._scheduled)


def call_often(count):
    loop = asyncio.get_running_loop()
    for number in range(count):
        loop.call_later(60, int).cancel()
        run(answer(number))


async def driven(context):
    """Await what a greenlet hands to its parent, as SQLAlchemy's `greenlet_spawn` does."""
    result = context.switch()
    while not context.dead:
        result = context.switch(await result)
    return result


def recursed(depth, call):
    return call() if depth == 0 else recursed(depth - 1, call)


def run_with_asyncio_run(coro):
    return asyncio.run(coro)


def run_with_runner(coro):
    with asyncio.Runner() as runner:
        runner.run(answer(None))
        return runner.run(coro)


def run_with_loop(coro):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


ENDINGS = [run_with_asyncio_run, run_with_runner, run_with_loop]


def script(source):
    return subprocess.Popen(  # noqa: S603 - the command is written here
        [sys.executable, "-W", "error", "-c", PREAMBLE + textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


PREAMBLE = """
import asyncio, os, signal, sys, threading, time
from nbtool.runtime.parked import park_until, parked_count

def run(coro):
    loop = asyncio.get_running_loop()
    task = loop.create_task(coro)
    park_until(loop, task)
    return task.result()
"""


@pytest.fixture(autouse=True)
def nothing_is_left(caplog):
    yield
    gc.collect()
    objects = gc.get_objects()
    left = [each for each in objects if isinstance(each, greenlet.greenlet) and each.parent]
    assert (left, caplog.get_records("call")) == ([], [])


# What a call sees and leaves


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
    assert seen == ["callback", "timer"]


async def test_ticker_keeps_ticking_while_a_call_waits():
    ticks = []
    ticker = asyncio.create_task(tick_into(ticks))
    run(answer(None, after_s=0.1))
    assert ticker.cancel()
    assert len(ticks) > 3


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


# Contexts


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


# Many calls at once


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


# Cancelling


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


# Loops that end


@pytest.mark.parametrize("ending", ENDINGS)
def test_fifty_gathered_calls_give_their_values_on_a_loop_that_ends(ending):
    async def call(number):
        return run(answer(number, after_s=0.001 * (number % 3)))

    async def main():
        return sum(await asyncio.gather(*[call(number) for number in range(50)]))

    assert ending(main()) == 1225


@pytest.mark.parametrize("ending", ENDINGS[:2])
def test_exception_in_one_of_fifty_calls_ends_the_others(ending):
    ended = []

    async def call(number):
        try:
            run(answer(1 // number, after_s=5))
        finally:
            ended.append(number)

    async def main():
        await asyncio.gather(*[call(number) for number in [*range(1, 50), 0]])

    with pytest.raises(ZeroDivisionError):
        ending(main())
    assert len(ended) == 50


@pytest.mark.parametrize("ending", ENDINGS[:2])
def test_call_that_still_waits_when_main_returns_is_cancelled(ending):
    ended = []

    async def call(name):
        try:
            run(asyncio.sleep(5))
        except asyncio.CancelledError:
            ended.append(name)
            raise

    async def main():
        main.tasks = [asyncio.create_task(call(name)) for name in ("at home", "on a runner")]
        await asyncio.sleep(0.001)
        return "main"

    assert (ending(main()), sorted(ended)) == ("main", ["at home", "on a runner"])


def test_call_that_is_not_on_top_of_the_loop_outlives_a_stop_of_it():
    loop = asyncio.new_event_loop()

    async def call(after_s):
        return run(answer(after_s, after_s))

    async def main():
        main.tasks = [asyncio.create_task(call(after_s)) for after_s in (0.01, 0.05)]
        await asyncio.sleep(0.03)

    loop.run_until_complete(main())
    waiting = parked_count(loop)
    value = loop.run_until_complete(main.tasks[1])
    loop.close()
    assert (waiting, value) == (1, 0.05)


def test_stopping_the_loop_ends_the_call_on_top_of_it():
    loop = asyncio.new_event_loop()

    async def call():
        run(asyncio.sleep(5))

    task = loop.create_task(call())
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    assert task.cancelled()


def test_callback_that_waits_is_ended_when_the_loop_stops(caplog):
    async def main():
        asyncio.get_running_loop().call_soon(lambda: run(asyncio.sleep(5)))
        await asyncio.sleep(0.01)
        return "main"

    assert asyncio.run(main()) == "main"
    assert "the event loop was stopped while a call was waiting" in caplog.text
    caplog.clear()


def test_callbacks_that_were_ready_at_the_stop_are_called():
    loop, called = asyncio.new_event_loop(), []

    async def call():
        run(answer(None, after_s=0.001))
        loop.stop()
        loop.call_soon(called.append, "later")

    loop.create_task(call())
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert called == ["later"]


# Interrupts


def test_interrupt_ends_a_call_in_a_script_at_once():
    child = script("""
        async def main():
            try:
                print("ready", flush=True)
                run(asyncio.sleep(20))
            finally:
                print("cleaned", flush=True)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", parked_count(None))
    """)
    child.stdout.readline()
    time.sleep(0.1)
    child.send_signal(2)
    assert child.communicate(timeout=10)[0].split() == ["cleaned", "interrupted", "0"]


def test_interrupt_ends_fifty_gathered_calls_without_a_word():
    child = script("""
        async def call():
            run(asyncio.sleep(20))
        async def main():
            asyncio.get_running_loop().call_later(0.2, lambda: print("ready", flush=True))
            await asyncio.gather(*[call() for _ in range(50)])
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
    """)
    child.stdout.readline()
    child.send_signal(2)
    assert child.communicate(timeout=10)[0].split() == ["interrupted"]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
def test_exit_raised_by_a_handle_comes_out_of_the_oldest_call(kind):
    child = script(f"""
        async def oldest():
            try:
                run(asyncio.sleep(20))
            except {kind} as exc:
                return f"oldest got {{exc}}"
        async def newest():
            return run(asyncio.sleep(0.1, "newest goes on"))
        def fails():
            raise {kind}("it")
        async def main():
            asyncio.get_running_loop().call_later(0.05, fails)
            print(await asyncio.gather(oldest(), newest()))
        asyncio.run(main())
    """)
    assert child.communicate(timeout=10)[0] == "['oldest got it', 'newest goes on']\n"


def test_script_that_ends_with_a_call_still_waiting_says_nothing_of_ours():
    child = script("""
        async def call():
            run(asyncio.sleep(20))
        loop = asyncio.new_event_loop()
        task = loop.create_task(call())
        other = loop.create_task(call())
        loop.run_until_complete(asyncio.sleep(0.01))
        print(parked_count(loop), flush=True)
        os._exit(0)
    """)
    assert child.communicate(timeout=10)[0] == "1\n"


# Debug mode, memory, refusals


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
    assert (len(loop._ready), len(loop._scheduled) < 300) == (0, True)


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
    pytest.param(NoLoop, "NoLoop is no asyncio.BaseEventLoop", id="foreign"),
    pytest.param(OwnQueueLoop, "OwnQueueLoop has its own call_soon", id="own queue"),
    pytest.param(NamedLoop, "", id="subclass"),
]


@pytest.mark.parametrize(("kind", "reason"), LOOPS)
def test_reason_says_why_a_loop_is_not_supported(kind, reason):
    loop = kind()
    loop.close()
    assert (why_not(loop).endswith(reason), supported(loop)) == (True, not reason)
