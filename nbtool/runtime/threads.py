"""Threads: loops of our own, and worker threads for synchronous user code.

Three mechanisms, all without touching asyncio:

- *own loop*: a thread without a running loop gets a private one that lives as long as the thread,
  so that an HTTP client survives from one synchronous call to the next;
- *loop thread*: a daemon thread with a loop, for callers whose own loop stands still below them;
- *worker*: a daemon thread that runs synchronous user code for an asynchronous chain. It knows
  the chain's loop as its *home loop*, so that synchronous calls inside go back there.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import dataclasses
import os
import queue
import sys
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.configuration import settings
from nbtool.ownership import refuse_where
from nbtool.runtime import forking
from nbtool.runtime.variables import copy_changed

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

T = TypeVar("T")

_IDLE_S = 10.0  # an unused worker thread ends after this time
_LAST_WORDS_S = 1.0  # how long the tasks of a loop that is closed may take to clean up


class _ThreadState(threading.local):
    loop: OwnLoop | None = None
    job: Job | None = None


_here = _ThreadState()
_own_loops: weakref.WeakSet[OwnLoop] = weakref.WeakSet()
_inherited: list[asyncio.AbstractEventLoop] = []  # loops of the process that forked this one


# -- own loop ------------------------------------------------------------------------------------


class OwnLoop:
    """Hold the private loop of one thread and close it when the thread ends."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._pid = os.getpid()
        _own_loops.add(self)

    def close(self) -> None:
        """Cancel what is left on the loop, await it, and close; as `asyncio.run` does."""
        loop = self.loop
        if os.getpid() != self._pid:
            # A forked child shares the selector: closing here would make the parent's loop deaf.
            _inherited.append(loop)
            return
        if loop.is_closed() or loop.is_running():
            return
        try:
            left = asyncio.all_tasks(loop)
            for task in left:
                task.cancel()
            if left:
                loop.run_until_complete(asyncio.wait(left, timeout=_LAST_WORDS_S))
            loop.run_until_complete(loop.shutdown_asyncgens())
            loop.run_until_complete(loop.shutdown_default_executor())
        finally:
            loop.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):  # at interpreter exit anything may be gone
            self.close()


def own_loop() -> asyncio.AbstractEventLoop:
    """Return the loop on which this thread's synchronous calls run.

    In an IPython terminal that is IPython's own, which top-level ``await`` uses too.
    """
    if threading.current_thread() is threading.main_thread():
        terminal = _ipython_terminal_loop()
        if terminal is not None:
            return terminal
    if _here.loop is None or _here.loop.loop.is_closed():
        _here.loop = OwnLoop()
    return _here.loop.loop


def _ipython_terminal_loop() -> asyncio.AbstractEventLoop | None:
    ipython = sys.modules.get("IPython")  # never import it just to look
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or getattr(shell, "kernel", None) is not None:
        return None
    try:
        from IPython.core.async_helpers import get_asyncio_loop
    except ImportError:  # IPython 7
        return None
    loop = get_asyncio_loop()
    return None if loop.is_closed() else loop


@atexit.register
def _close_loops() -> None:
    for thread in list(_loop_threads):
        thread.end()
    for own in list(_own_loops):
        with contextlib.suppress(Exception):  # nothing can be mended now
            own.close()


# -- loop threads --------------------------------------------------------------------------------


class _LoopThread(threading.Thread):
    """Carry a loop that nobody else waits on."""

    def __init__(self) -> None:
        super().__init__(name="nbtool-loop", daemon=True)
        self._own = OwnLoop()
        self.loop = self._own.loop
        _loop_threads.add(self)

    def run(self) -> None:
        while True:
            # A child task that calls sys.exit() stops the loop, and somebody waits for its parent.
            with contextlib.suppress(SystemExit, KeyboardInterrupt):
                self.loop.run_forever()
                break
        self._own.close()

    def lend(self) -> None:
        """Let the next caller have the loop."""
        _idle_loop_threads.append(self)

    def end(self) -> None:
        """Close the loop, unless user code blocks it."""
        with contextlib.suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(self.loop.stop)
        self.join(2 * _LAST_WORDS_S)


_loop_threads: weakref.WeakSet[_LoopThread] = weakref.WeakSet()
_idle_loop_threads: deque[_LoopThread] = deque()


@contextlib.contextmanager
def loop_thread() -> Generator[asyncio.AbstractEventLoop]:
    """Lend the loop of a daemon thread that nobody else waits on.

    Each nested borrower gets another one: the outer one's loop stands still below it.
    """
    try:
        thread = _idle_loop_threads.pop()
    except IndexError:
        thread = _LoopThread()
        thread.start()
    try:
        yield thread.loop
    except KeyboardInterrupt:
        # What was abandoned may block the loop; it is lent again when it can take this call.
        thread.loop.call_soon_threadsafe(thread.lend)
        raise
    except BaseException:
        thread.lend()
        raise
    thread.lend()


# -- workers -------------------------------------------------------------------------------------


_idle_workers: deque[_Worker] = deque()


@dataclasses.dataclass(slots=True, eq=False)
class Job:
    """One call of synchronous user code on its way through a worker thread.

    Attributes:
        call: The user code, ready to call.
        context: Where it runs; a copy of the chain's.
        home: The chain's loop.
        slots: Bounds the threads that work at once.
        has_slot: Whether this job holds one; it gives it back while its thread waits.
        future: Done when the call is.
        chain: What its thread waits for in the door.
    """

    call: Callable[[], Any]
    context: contextvars.Context
    home: asyncio.AbstractEventLoop
    slots: asyncio.Semaphore
    future: asyncio.Future[Any]
    has_slot: bool = True
    chain: asyncio.Task[Any] | None = None

    def give_slot_back(self) -> None:
        """Let another thread work; on the home loop only."""
        if self.has_slot:
            self.has_slot = False
            self.slots.release()

    def waits_for(self, chain: asyncio.Task[Any]) -> None:
        """Note what the thread waits for; end that if nobody waits for the job."""
        self.chain = chain
        if self.future.cancelled():
            chain.cancel()

    def cancel_chain(self) -> None:
        """End what the thread waits for; on the home loop only."""
        if self.chain is not None:
            self.chain.cancel()

    async def take_slot(self) -> None:
        """Wait until this thread may work on; on the home loop only."""
        await self.slots.acquire()
        self.has_slot = True


def current_job() -> Job | None:
    """Return the job that this thread works on, if it is one of our workers."""
    return _here.job


refuse_where(lambda: _here.job is not None, "a worker thread of a running call")


class _Worker(threading.Thread):
    """Run jobs one after another; end when there is none for a while."""

    def __init__(self) -> None:
        # A daemon, so that a tool that hangs cannot keep the process from ending.
        super().__init__(name="nbtool-worker", daemon=True)
        self.jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()

    def run(self) -> None:
        while True:
            try:
                job = self.jobs.get(timeout=_IDLE_S)
            except queue.Empty:
                try:
                    _idle_workers.remove(self)
                except ValueError:  # somebody has just taken this worker: its job is coming
                    continue
                return
            self._work(job)
            del job  # an idle worker must not keep a user's objects alive
            _idle_workers.append(self)

    def _work(self, job: Job) -> None:
        _here.job = job
        value, error = None, None
        try:
            value = job.context.run(job.call)
        except BaseException as raised:  # noqa: BLE001 - the chain gets it, whatever it is
            error = raised
        finally:
            _here.job = None
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
            job.home.call_soon_threadsafe(_settle, job, value, error)
        del job, error  # both hold the traceback, which holds this frame


def _settle(job: Job, value: Any, error: BaseException | None) -> None:
    job.give_slot_back()
    if job.future.done():  # the chain was cancelled; the thread could not be stopped
        return
    if isinstance(error, StopIteration):  # a future refuses it, a coroutine could not raise it
        wrapped = RuntimeError("synchronous code raised StopIteration")
        wrapped.__cause__ = error
        error = wrapped
    if error is not None:
        job.future.set_exception(error)
    else:
        job.future.set_result(value)


def _start(job: Job) -> None:
    try:
        worker = _idle_workers.pop()
    except IndexError:
        worker = _Worker()
        worker.start()
    worker.jobs.put(job)


_slots: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, dict[int, asyncio.Semaphore]] = (
    weakref.WeakKeyDictionary()
)


def _slots_of(loop: asyncio.AbstractEventLoop) -> asyncio.Semaphore:
    wanted = max(1, int(settings.async_max_workers))
    by_size = _slots.get(loop)
    if by_size is None:
        for known in [reference() for reference in _slots.keyrefs()]:
            if known is not None and known.is_closed():
                _slots.pop(known, None)  # a semaphore that was waited for holds its loop
        by_size = _slots[loop] = {}
    if wanted not in by_size:
        by_size[wanted] = asyncio.Semaphore(wanted)
    return by_size[wanted]


async def in_worker(call: Callable[[], T]) -> T:
    """Run synchronous user code in a worker thread, so that the loop goes on.

    At most `settings.async_max_workers` of these threads work at once; a thread that waits in
    the door for an asynchronous call gives its place to another.

    Args:
        call: The user code, ready to call.

    Returns:
        What it returns. Context variables pass in, and those it changed come back.

    Raises:
        asyncio.CancelledError: The chain was cancelled. What the thread waits for in the door is
            cancelled too; else it cannot be stopped: it runs on and its result is dropped.
    """
    loop = asyncio.get_running_loop()
    slots = _slots_of(loop)
    context = contextvars.copy_context()
    start = context.copy()
    await slots.acquire()
    future = loop.create_future()
    job = Job(call, context, loop, slots, future)
    try:
        _start(job)
    except RuntimeError:  # no further thread can be started
        slots.release()
        raise
    try:
        return await future
    except asyncio.CancelledError:
        job.cancel_chain()
        raise
    finally:
        if future.done() and not future.cancelled():
            copy_changed(start, context)
        del future, job  # they hold the error, whose traceback holds this frame


# -- fork ----------------------------------------------------------------------------------------


def _forget_threads() -> None:
    """Start anew in a forked child: no thread but the forking one lives there."""
    _here.loop = None
    _here.job = None
    _idle_workers.clear()
    _idle_loop_threads.clear()
    _loop_threads.clear()


forking.in_child(_forget_threads)
