import asyncio
import contextlib
import contextvars
import sys
import threading
import traceback
import types
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest

from nbtool.errors import LoopClosedError, LoopError, NestedLoopError, WrongLoopError
from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker

number = contextvars.ContextVar("number", default=0)


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


async def fail(error):
    await asyncio.sleep(0)
    raise error


async def which_loop():
    return asyncio.get_running_loop()


def nested(depth):
    async def level():
        await asyncio.sleep(0)
        return 1 + (nested(depth - 1) if depth > 1 else 0)

    return run(level())


class Abort(BaseException):
    """As pytest.skip() and other libraries raise it."""


class Awaitable:
    def __await__(self):
        return double(4).__await__()


# -- values --------------------------------------------------------------------------------------


def test_run_gives_the_value(place):
    assert place(lambda: run(double(4))) == 8


def test_run_waits_for_anything_with_await(place):
    assert place(lambda: run(Awaitable())) == 8


def test_run_waits_for_a_generator_based_coroutine():
    @types.coroutine
    def old_style():
        yield from asyncio.sleep(0).__await__()
        return 8

    assert run(old_style()) == 8


def test_runs_nest_six_deep(place):
    assert place(lambda: nested(6)) == 6


def test_fifty_threads_run_at_once():
    with ThreadPoolExecutor(50) as pool:
        assert list(pool.map(lambda x: run(double(x)), range(50))) == list(range(0, 100, 2))


def test_fifty_tasks_run_in_the_middle_of_a_foreign_loop(on_foreign_loop):
    async def task(x):
        return run(double(x))

    async def main():
        return await asyncio.gather(*map(task, range(50)))

    assert on_foreign_loop(main) == list(range(0, 100, 2))


def test_calls_inside_run_go_on_at_once():
    async def wait_for(event, then):
        await asyncio.wait_for(event.wait(), 5)
        then.set()

    async def main():
        first, second = asyncio.Event(), asyncio.Event()
        asyncio.get_running_loop().call_soon(second.set)
        await asyncio.gather(wait_for(first, asyncio.Event()), wait_for(second, first))

    run(main())


# -- which loop ----------------------------------------------------------------------------------


def test_a_thread_keeps_its_loop_from_one_run_to_the_next():
    assert run(which_loop()) is run(which_loop())


def test_threads_have_loops_of_their_own():
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: run(which_loop())).result() is not run(which_loop())


def test_asyncio_run_works_before_after_and_around_run():
    async def main():
        return run(double(3))

    results = [asyncio.run(double(1)), run(double(2)), asyncio.run(main()), run(double(4))]

    assert results == [2, 4, 6, 8]


def test_a_worker_runs_coroutines_on_its_home_loop():
    async def main():
        return await in_worker(lambda: run(which_loop())) is asyncio.get_running_loop()

    assert asyncio.run(main())


def test_a_thread_that_user_code_starts_in_a_worker_has_its_own_loop():
    def from_new_thread():
        with ThreadPoolExecutor(1) as pool:
            return pool.submit(lambda: run(which_loop())).result()

    async def main():
        return await in_worker(from_new_thread) is asyncio.get_running_loop()

    assert not asyncio.run(main())


def test_run_leaves_the_threads_current_task_alone(place):
    def sync():
        before = asyncio.current_task() if asyncio._get_running_loop() else None
        run(double(1))
        return before, asyncio.current_task() if before else None

    before, after = place(sync)

    assert after is before


def test_run_takes_a_task_of_this_threads_idle_loop():
    async def start():
        return asyncio.create_task(double(4))

    assert run(run(start())) == 8


def test_run_takes_a_task_of_another_loop_that_nobody_runs():
    loop = asyncio.new_event_loop()
    task = loop.create_task(double(4))

    assert run(task) == 8
    loop.close()


# -- futures of other loops ----------------------------------------------------------------------


def started_on(loop, coroutine):
    async def start():
        return asyncio.create_task(coroutine)

    return asyncio.run_coroutine_threadsafe(start(), loop).result()


def test_a_task_of_a_loop_in_another_thread_is_waited_for_over_there(place, other_loop):
    task = started_on(other_loop, double(4))

    assert place(lambda: run(task, timeout_s=10)) == 8


def test_the_error_of_a_task_of_another_loop_arrives(place, other_loop):
    def sync():
        with pytest.raises(LookupError, match="lost"):
            run(started_on(other_loop, fail(LookupError("lost"))))

    place(sync)


def test_a_time_limit_holds_for_a_task_of_another_loop(place, other_loop, eventually):
    task = started_on(other_loop, asyncio.sleep(30))

    def sync():
        with pytest.raises(TimeoutError):
            run(task, timeout_s=0.05)

    place(sync)
    assert eventually(task.cancelled)


def closed_loop_with(coroutine, turns):
    loop = asyncio.new_event_loop()
    task = loop.create_task(coroutine)
    for _ in range(turns):
        loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    return task


def test_a_pending_future_of_a_closed_loop_is_refused(place):
    loop = asyncio.new_event_loop()
    future = loop.create_future()
    loop.close()

    def sync():
        with pytest.raises(LoopClosedError, match=r"ended(?s:.)*Start it again"):
            run(future, timeout_s=1)

    place(sync)


def test_a_future_that_is_done_gives_its_result_wherever_its_loop_is(place):
    task = closed_loop_with(double(4), turns=5)

    assert place(lambda: run(task)) == 8


def test_a_future_of_the_blocked_loop_that_is_done_gives_its_result(on_foreign_loop):
    async def main():
        task = asyncio.create_task(double(4))
        await task
        return run(task)

    assert on_foreign_loop(main) == 8


@pytest.mark.parametrize("timeout_s", [None, 5])
def test_a_future_of_the_loop_that_stands_still_below_is_refused(on_foreign_loop, timeout_s):
    async def main():
        task = asyncio.create_task(double(4))
        with pytest.raises(NestedLoopError, match=r"stands still(?s:.)*Write `await`"):
            run(task, timeout_s=timeout_s)
        return await task

    assert on_foreign_loop(main) == 8


def test_a_future_of_a_loop_that_stands_still_further_below_is_refused(on_foreign_loop):
    async def inner(task):
        with pytest.raises(NestedLoopError, match="stands still"):
            run(task, timeout_s=5)

    async def middle(task):
        run(inner(task))

    async def main():
        task = asyncio.create_task(double(4))
        run(middle(task))
        return await task

    assert on_foreign_loop(main) == 8


@pytest.mark.parametrize("timeout_s", [None, 5])
def test_a_future_of_a_loop_that_does_not_run_is_refused_on_a_foreign_loop(
    on_foreign_loop, timeout_s
):
    idle = asyncio.new_event_loop()

    async def main():
        with pytest.raises(WrongLoopError, match=r"does not run(?s:.)*Run that loop"):
            run(idle.create_future(), timeout_s=timeout_s)

    on_foreign_loop(main)
    idle.close()


def test_waiting_for_a_loop_that_is_closed_meanwhile_ends(place):
    loop = asyncio.new_event_loop()
    task = loop.create_task(asyncio.sleep(30))
    loop.call_later(0.3, loop.stop)

    def serve():
        loop.run_forever()
        loop.close()

    def sync():
        with pytest.raises(LoopClosedError, match="ended"):
            run(task)

    with ThreadPoolExecutor(1) as pool:
        served = pool.submit(serve)
        place(sync)
        served.result()
    task._log_destroy_pending = False


def test_a_worker_whose_home_loop_has_ended_is_told_so():
    errors = []
    ended = threading.Event()

    def late():
        ended.wait(10)
        with pytest.raises(LoopClosedError, match="ended"):
            run(double(1))
        errors.append("told")
        told.set()

    told = threading.Event()
    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(in_worker(late), 0.1))
    ended.set()

    assert told.wait(10)


# -- what cannot be awaited ----------------------------------------------------------------------


@pytest.mark.parametrize("value", [3, "abc", [double], None], ids=["int", "str", "list", "None"])
def test_what_cannot_be_awaited_is_refused_by_its_repr(value):
    with pytest.raises(LoopError) as caught:
        run(value)

    assert repr(value) in str(caught.value)
    assert "Write `run(main())`" in caught.value.hint


def test_a_function_instead_of_a_call_is_named_as_the_mistake():
    with pytest.raises(LoopError, match="It is a function: call it"):
        run(double)


def test_a_coroutine_that_was_awaited_before_is_refused(place):
    coroutine = double(4)
    run(coroutine)

    def sync():
        with pytest.raises(LoopError, match=r"awaited before(?s:.)*Call the function again"):
            run(coroutine)

    place(sync)


def test_a_coroutine_that_is_being_awaited_is_refused():
    async def main():
        with pytest.raises(LoopError, match="awaited before"):
            run(coroutine)

    coroutine = main()
    run(coroutine)


# -- time limits and cancellation ----------------------------------------------------------------


def test_a_time_limit_cancels_the_chain_and_lets_it_clean_up(place):
    ended = []

    async def slow():
        try:
            await asyncio.sleep(30)
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    def sync():
        with pytest.raises(TimeoutError):
            run(slow(), timeout_s=0.05)

    place(sync)
    assert ended == ["cleaned up"]


def test_a_time_limit_that_is_not_reached_changes_nothing(place):
    assert place(lambda: run(double(4), timeout_s=20)) == 8


def test_a_chains_own_timeout_error_passes(place):
    def sync():
        with pytest.raises(TimeoutError, match="mine"):
            run(fail(TimeoutError("mine")))

    place(sync)


async def cancel_itself():
    asyncio.current_task().cancel("enough")
    await asyncio.sleep(30)


@pytest.mark.parametrize(
    "chain", [cancel_itself, lambda: fail(asyncio.CancelledError())], ids=["cancel", "raise"]
)
def test_a_chain_that_is_cancelled_ends_with_cancelled_error(place, chain):
    def sync():
        with pytest.raises(asyncio.CancelledError):
            run(chain())

    place(sync)


# -- errors --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "error",
    [LookupError("lost"), SystemExit(3), KeyboardInterrupt(), GeneratorExit(), Abort()],
    ids=repr,
)
def test_an_error_arrives_as_it_was_raised(place, error):
    def sync():
        with pytest.raises(type(error)) as caught:
            run(fail(error))
        return caught.value

    assert place(sync) is error


def test_the_next_run_works_after_sys_exit_in_a_chain(place):
    async def leave():
        sys.exit(3)

    def sync():
        with pytest.raises(SystemExit):
            run(leave())
        return run(double(4))

    assert place(sync) == 8


@pytest.mark.parametrize("rung", ["script", "loop_thread"])
def test_sys_exit_in_a_child_task_ends_the_chain(rung, on_foreign_loop):
    ended = []

    async def chain():
        try:
            await asyncio.gather(fail(SystemExit(3)), asyncio.sleep(0.2))
        finally:
            ended.append("cleaned up")

    def sync():
        with pytest.raises(SystemExit):
            run(chain())
        return run(double(4))

    async def main():
        return sync()

    assert {"script": sync, "loop_thread": lambda: on_foreign_loop(main)}[rung]() == 8
    assert ended == ["cleaned up"]


def test_stop_iteration_in_a_chain_is_a_runtime_error_as_in_any_coroutine(place):
    def sync():
        with pytest.raises(RuntimeError, match="coroutine raised StopIteration"):
            run(fail(StopIteration(1)))

    place(sync)


def test_the_traceback_shows_the_users_frames_in_order(place):
    async def outer():
        await fail(LookupError("lost"))

    def sync():
        with pytest.raises(LookupError) as caught:
            run(outer())
        frames = traceback.extract_tb(caught.value.__traceback__)
        return [frame.name for frame in frames if frame.filename == __file__]

    assert place(sync) == ["sync", "outer", "fail"]


class Big:
    pass


async def hold(kept, error):
    big = Big()
    kept.append(weakref.ref(big))
    await asyncio.sleep(0)
    raise error()


@pytest.mark.parametrize(
    "error", [LookupError, SystemExit, asyncio.CancelledError], ids=lambda kind: kind.__name__
)
@pytest.mark.usefixtures("no_gc")
def test_an_error_keeps_no_local_alive_once_it_is_dropped(place, error, eventually):
    kept = []

    def sync():
        with contextlib.suppress(error):
            run(hold(kept, error))

    place(sync)
    assert eventually(lambda: kept[0]() is None)


@pytest.mark.usefixtures("no_gc")
def test_a_time_limit_keeps_no_local_alive(place, eventually):
    kept = []

    async def hold_on():
        big = Big()
        kept.append(weakref.ref(big))
        await asyncio.sleep(30)

    def sync():
        with contextlib.suppress(TimeoutError):
            run(hold_on(), timeout_s=0.05)

    place(sync)
    assert eventually(lambda: kept[0]() is None)


# -- context variables ---------------------------------------------------------------------------


def test_context_variables_pass_in(place):
    async def read():
        await asyncio.sleep(0)
        return number.get()

    def sync():
        number.set(7)
        return run(read())

    assert place(sync) == 7


async def set_number(value, error=None):
    await asyncio.sleep(0)
    number.set(value)
    if error is not None:
        raise error


def test_context_variables_that_the_chain_set_are_set_afterwards(place):
    def sync():
        number.set(1)
        run(set_number(8))
        return number.get()

    assert place(sync) == 8


@pytest.mark.parametrize("error", [LookupError(), SystemExit()], ids=repr)
def test_context_variables_come_out_also_with_an_error(place, error):
    def sync():
        number.set(1)
        with pytest.raises(type(error)):
            run(set_number(8, error))
        return number.get()

    assert place(sync) == 8


def test_context_variables_come_out_also_after_a_time_limit(place):
    async def set_and_sleep():
        number.set(8)
        await asyncio.sleep(30)

    def sync():
        with pytest.raises(TimeoutError):
            run(set_and_sleep(), timeout_s=0.05)
        return number.get()

    assert place(sync) == 8


def test_context_variables_pass_through_nested_runs(place):
    async def outer():
        run(set_number(number.get() + 1))
        return number.get()

    def sync():
        number.set(7)
        return run(outer()), number.get()

    assert place(sync) == (8, 8)


def test_what_a_child_task_sets_stays_in_it(place):
    async def parent():
        await asyncio.create_task(set_number(8))

    def sync():
        number.set(1)
        run(parent())
        return number.get()

    assert place(sync) == 1
