import asyncio
import contextlib
import contextvars
import gc
import logging
import threading
import time
import weakref

import pytest

from nbtool.configuration import context
from nbtool.runtime import threads
from nbtool.runtime.door import run
from nbtool.runtime.step import Step
from nbtool.runtime.threads import in_worker

number = contextvars.ContextVar("number", default=0)
other = contextvars.ContextVar("other", default="before")


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


class Gauge:
    """Count how many calls work at once."""

    def __init__(self):
        self.working = self.peak = self.calls = 0
        self._lock = threading.Lock()

    def work(self, for_s=0.01):
        with self._lock:
            self.calls += 1
            self.working += 1
            self.peak = max(self.peak, self.working)
        time.sleep(for_s)
        with self._lock:
            self.working -= 1


def workers():
    return [each for each in threading.enumerate() if each.name == "nbtool-worker"]


# -- values, errors, context ---------------------------------------------------------------------


async def test_a_call_in_a_worker_gives_its_value_from_another_thread():
    assert await in_worker(threading.get_ident) != threading.get_ident()


async def test_the_loop_goes_on_while_a_worker_sleeps():
    ticks = []
    release = threading.Event()

    async def tick():
        for count in range(20):
            ticks.append(count)
            await asyncio.sleep(0)
        release.set()

    ticker = asyncio.create_task(tick())

    assert await in_worker(lambda: release.wait(10))
    await ticker
    assert len(ticks) == 20


@pytest.mark.parametrize(
    "error", [LookupError("lost"), asyncio.CancelledError("stop"), GeneratorExit()], ids=repr
)
async def test_what_a_worker_raises_arrives(error):
    def fail():
        raise error

    with pytest.raises(type(error)) as caught:
        await in_worker(fail)

    assert caught.value is error or caught.value.args == error.args


async def test_stop_iteration_arrives_as_a_runtime_error_with_its_cause():
    with pytest.raises(RuntimeError, match="raised StopIteration") as caught:
        await in_worker(lambda: next(iter([])))

    assert isinstance(caught.value.__cause__, StopIteration)


def test_sys_exit_in_a_worker_arrives_at_run_and_the_next_call_works():
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        run(in_worker(leave))

    assert run(in_worker(lambda: 7)) == 7


async def test_context_variables_pass_in_and_come_back():
    def next_number():
        number.set(number.get() + 1)
        return number.get()

    number.set(7)

    assert (await in_worker(next_number), number.get()) == (8, 8)


async def test_context_variables_come_back_with_an_error():
    def set_and_fail():
        number.set(8)
        raise LookupError

    number.set(7)
    with pytest.raises(LookupError):
        await in_worker(set_and_fail)

    assert number.get() == 8


async def test_what_others_set_meanwhile_is_not_overwritten():
    here = contextvars.copy_context()
    release = threading.Event()

    def chain():
        number.set(8)
        release.wait(10)

    async def call():
        asyncio.get_running_loop().call_soon(other.set, "meanwhile", context=here)
        asyncio.get_running_loop().call_soon(release.set)
        await in_worker(chain)

    await asyncio.create_task(call(), context=here)

    assert (here[number], here[other]) == (8, "meanwhile")


# -- synchronous calls inside a worker -----------------------------------------------------------


async def test_a_worker_may_use_asyncio_run_itself():
    assert await in_worker(lambda: asyncio.run(double(4))) == 8


async def test_run_inside_asyncio_run_inside_a_worker_works():
    async def main():
        return run(double(4))

    assert await in_worker(lambda: asyncio.run(main())) == 8


async def test_a_worker_that_waits_in_the_door_gives_its_place_to_another():
    async def inner():
        return await in_worker(lambda: 7)

    with context(async_max_workers=1):
        assert await in_worker(lambda: run(inner())) == 7


async def test_a_worker_works_again_only_when_it_has_a_place():
    gauge = Gauge()

    def work_wait_work():
        gauge.work()
        run(asyncio.sleep(0.01))
        gauge.work()

    with context(async_max_workers=2):
        await asyncio.gather(*[in_worker(work_wait_work) for _ in range(8)])

    assert (gauge.calls, gauge.peak) == (16, 2)


class Nested(Step):
    """Has only `forward`, which waits for the next module."""

    def __init__(self, gauge, depth, call):
        self.gauge = gauge
        self.call = call
        self.inner = Nested(gauge, depth - 1, call) if depth > 1 else None

    def forward(self, x):
        self.gauge.work(0.001)
        return self.call(self.inner, x) + 1 if self.inner else x


@pytest.mark.parametrize(
    "call",
    [lambda inner, x: inner(x), lambda inner, x: run(inner.acall(x), timeout_s=60)],
    ids=["sync", "door"],
)
def test_a_limit_of_four_finishes_a_hundred_modules_nested_three_deep(call):
    gauge = Gauge()
    module = Nested(gauge, 3, call)

    async def main():
        return await asyncio.gather(*[module.acall(x=x) for x in range(100)])

    with context(async_max_workers=4):
        assert run(main(), timeout_s=60) == list(range(2, 102))
    assert gauge.peak <= 4


# -- how many ------------------------------------------------------------------------------------


@pytest.mark.parametrize("limit", [1, 3])
async def test_no_more_than_the_limit_work_at_once(limit):
    gauge = Gauge()

    with context(async_max_workers=limit):
        await asyncio.gather(*[in_worker(gauge.work) for _ in range(12)])

    assert (gauge.calls, gauge.peak) == (12, limit)


async def test_each_limit_holds_while_another_is_set_elsewhere():
    gauge = Gauge()

    async def limited(limit):
        with context(async_max_workers=limit):
            await in_worker(gauge.work)

    await asyncio.gather(*[limited(1 + turn % 2) for turn in range(12)])

    assert gauge.peak <= 3


async def test_a_cancelled_call_that_still_works_keeps_its_place():
    release = threading.Event()
    order = []

    def second():
        order.append("second")

    with context(async_max_workers=1):
        first = asyncio.create_task(in_worker(lambda: order.append(release.wait(10))))
        await asyncio.sleep(0.05)
        first.cancel()
        waiting = asyncio.create_task(in_worker(second))
        await asyncio.sleep(0.05)
        release.set()
        await waiting

    assert order == [True, "second"]


async def test_a_call_that_is_cancelled_while_it_queues_never_starts():
    release = threading.Event()
    started = []

    with context(async_max_workers=1):
        first = asyncio.create_task(in_worker(lambda: release.wait(10)))
        queued = asyncio.create_task(in_worker(lambda: started.append("queued")))
        await asyncio.sleep(0.05)
        queued.cancel()
        release.set()
        await first
        await in_worker(lambda: started.append("next"))

    assert started == ["next"]


async def test_a_place_comes_back_when_no_thread_can_be_started(monkeypatch):
    def refuse(self):
        raise RuntimeError("can't start new thread")

    threads._idle_workers.clear()
    with context(async_max_workers=1):
        monkeypatch.setattr(threading.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            await in_worker(lambda: 7)
        monkeypatch.undo()
        assert await asyncio.wait_for(in_worker(lambda: 7), 5) == 7


async def test_idle_threads_are_used_again():
    used = {await in_worker(threading.get_ident) for _ in range(50)}

    assert len(used) <= 5


def test_idle_threads_end(monkeypatch, eventually):
    monkeypatch.setattr(threads, "_IDLE_S", 0.01)
    threads._idle_workers.clear()  # these wait for longer

    used = asyncio.run(in_worker(threading.current_thread))

    assert eventually(lambda: not used.is_alive())
    assert asyncio.run(in_worker(lambda: 7)) == 7


# -- cancellation and endings --------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["result", "error"])
async def test_cancelling_returns_at_once_and_drops_what_comes_later(ending, caplog):
    started, release, ended = threading.Event(), threading.Event(), threading.Event()

    def work():
        started.set()
        release.wait(10)
        ended.set()
        return {"result": 7}[ending]

    task = asyncio.create_task(in_worker(work))
    await asyncio.to_thread(started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not ended.is_set()
    release.set()
    await asyncio.to_thread(ended.wait, 10)
    await asyncio.sleep(0.05)

    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_worker_outlives_its_loop_without_a_log(caplog, eventually):
    release = threading.Event()
    used = []

    def work():
        used.append(threading.current_thread())
        release.wait(10)

    with pytest.raises(TimeoutError):
        asyncio.run(asyncio.wait_for(in_worker(work), 0.05))
    release.set()

    assert eventually(lambda: used[0] in threads._idle_workers)
    assert [r for r in caplog.records if r.levelno >= logging.WARNING] == []


def test_a_loop_ends_while_a_worker_waits_in_the_door_and_all_places_are_taken():
    release = threading.Event()

    async def main():
        with context(async_max_workers=1):
            waiting = asyncio.create_task(in_worker(lambda: run(asyncio.sleep(30))))
            await asyncio.sleep(0.1)
            blocking = asyncio.create_task(in_worker(lambda: release.wait(20)))
            await asyncio.sleep(0.1)
        return waiting, blocking

    start_s = time.monotonic()
    asyncio.run(main())
    release.set()

    assert time.monotonic() - start_s < 5


# -- what is kept alive --------------------------------------------------------------------------


class Big:
    pass


@pytest.mark.usefixtures("no_gc")
def test_an_idle_worker_keeps_no_object_of_the_user_alive(eventually):
    big = Big()
    kept = weakref.ref(big)

    def work(held=big):
        number.set(held)
        return held

    asyncio.run(in_worker(work))
    del work, big

    assert eventually(lambda: kept() is None)


@pytest.mark.parametrize("error", [LookupError, StopIteration, SystemExit])
@pytest.mark.usefixtures("no_gc")
def test_an_error_keeps_no_local_alive_once_it_is_dropped(error, eventually):
    kept = []

    def fail():
        big = Big()
        kept.append(weakref.ref(big))
        raise error

    with contextlib.suppress(error, RuntimeError):
        run(in_worker(fail))

    assert eventually(lambda: kept[0]() is None)


def test_a_loop_on_which_calls_queued_is_freed_after_it_has_ended():
    loops = []

    async def main():
        loops.append(weakref.ref(asyncio.get_running_loop()))
        with context(async_max_workers=1):
            await asyncio.gather(*[in_worker(lambda: time.sleep(0.01)) for _ in range(3)])

    asyncio.run(main())
    asyncio.run(main())
    gc.collect()

    assert loops[0]() is None


async def test_call_whose_worker_was_cancelled_before_it_asked_leaves_no_warning():
    asking, release = threading.Event(), threading.Event()

    class Nothing(Step):
        async def aforward(self):
            pass

    def work():
        asking.set()
        release.wait(5)
        Nothing()()

    job = asyncio.ensure_future(in_worker(work))
    await asyncio.to_thread(asking.wait, 5)
    job.cancel()
    with pytest.raises(asyncio.CancelledError):
        await job
    release.set()
    await asyncio.sleep(0.1)
    gc.collect()
