"""The door: the one place where synchronous code waits for asynchronous code.

`run` picks the first rung of this ladder that holds:

0. the awaitable lives on another loop that runs: wait for it over there;
1. this thread works for an asynchronous chain: run it on that chain's loop;
2. no loop runs in this thread: run it on this thread's own loop;
4. a loop runs below us and can be stepped: park this stack and let the loop go on;
5. a loop runs below us and cannot be stepped: it stands still while another thread's loop runs it.

Rung 3 is for Pyodide, and is not built yet.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import inspect
from asyncio import events
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.errors import LoopClosedError, LoopError, NestedLoopError, WrongLoopError
from nbtool.runtime import cells, forking, interrupt, parked, rehearsal, threads, waking
from nbtool.runtime.driven import Driven
from nbtool.runtime.outcome import Outcome, guarded
from nbtool.runtime.waiters import Waiter

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator
    from types import FrameType

    from nbtool.runtime.threads import Job

T = TypeVar("T")

_LAST_WORDS_S = 1.0  # how long an interrupted chain may take to clean up
_LOOK_S = 0.2  # how often a thread that waits looks whether it still should


@dataclasses.dataclass(slots=True)
class _Standstill:
    """A loop that waits in the door for a chain on another one."""

    loop: asyncio.AbstractEventLoop
    is_over: bool = False


# Those below a chain: a future of one of them would never be done.
_below: contextvars.ContextVar[tuple[_Standstill, ...]] = contextvars.ContextVar(
    "nbtool_standstills", default=()
)


def run(awaitable: Awaitable[T], *, timeout_s: float | None = None) -> T:
    """Wait for an awaitable from synchronous code, wherever that runs.

    Context variables pass in, and those that the chain changed are set afterwards.

    Args:
        awaitable: A coroutine, future, task, or anything with ``__await__``.
        timeout_s: Wall-clock limit in seconds; then the chain is cancelled. None: no limit.

    Returns:
        What the awaitable gives.

    Raises:
        LoopError: It cannot be waited for from here; the message says what to write instead.
        TimeoutError: `timeout_s` has passed.
        KeyboardInterrupt: The user pressed Ctrl-C; the chain was cancelled.

    Example:
        >>> import asyncio, nbtool
        >>> async def double(x):
        ...     await asyncio.sleep(0)
        ...     return 2 * x
        >>> nbtool.run(double(4))
        8
    """
    __tracebackhide__ = True  # IPython and pytest leave such frames out
    try:
        return _climb(awaitable, timeout_s)
    except KeyboardInterrupt:
        _close_unstarted(awaitable)
        raise


def _climb(awaitable: Awaitable[T], timeout_s: float | None) -> T:
    __tracebackhide__ = True
    target = _check(awaitable)
    if asyncio.isfuture(awaitable) and awaitable.done():
        return awaitable.result()
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none, at five times the cost
    if running is not None and target in (None, running):
        frame = rehearsal.frame_below(running)
        if frame is not None:
            return _wait_parked(running, frame, awaitable, timeout_s)
    if target is not None:
        _refuse_blocked(target, running)
        if target.is_running():
            return _wait_elsewhere(target, awaitable, timeout_s)
    if running is None:
        job = threads.current_job()
        if job is not None and target is None:
            return _wait_elsewhere(job.home, awaitable, timeout_s, job)
        return _run_here(target or threads.own_loop(), awaitable, timeout_s)
    with threads.loop_thread() as loop:
        return _wait_elsewhere(loop, awaitable, timeout_s)


def _check(awaitable: Any) -> asyncio.AbstractEventLoop | None:
    """Return the loop that the awaitable is bound to, if any; refuse what cannot be awaited."""
    if not inspect.isawaitable(awaitable):
        called = " It is a function: call it." if callable(awaitable) else ""
        raise LoopError(
            f"run() needs something that can be awaited and got {awaitable!r}.{called}",
            hint="Write `run(main())`, with the call.",
        )
    if inspect.iscoroutine(awaitable):
        if inspect.getcoroutinestate(awaitable) != inspect.CORO_CREATED:
            raise LoopError(
                f"{awaitable!r} was awaited before, and a coroutine runs only once.",
                hint="Call the function again for a new coroutine.",
            )
        return None
    if not asyncio.isfuture(awaitable):
        return None
    loop = awaitable.get_loop()
    if awaitable.done():
        return loop
    if loop.is_closed():
        raise _ended(awaitable)
    if forking.stands_still(loop):
        raise forking.refused(awaitable)
    return loop


def _ended(awaitable: Any) -> LoopClosedError:
    return LoopClosedError(
        f"{awaitable!r} belongs to a loop that has ended, so it will never be done.",
        hint="Start it again on the loop that runs now.",
    )


def _refuse_blocked(
    target: asyncio.AbstractEventLoop, running: asyncio.AbstractEventLoop | None
) -> None:
    if target is running or any(b.loop is target and not b.is_over for b in _below.get()):
        raise NestedLoopError(
            "run() would wait for a future of the loop that stands still below this call.",
            hint="Write `await` instead of `run(...)`.",
        )
    if running is not None and not target.is_running():
        raise WrongLoopError(
            f"The future belongs to {target!r}, which does not run.",
            hint="Run that loop, or create the future on the loop that runs now.",
        )


def _run_here(
    loop: asyncio.AbstractEventLoop, awaitable: Awaitable[T], timeout_s: float | None
) -> T:
    task = loop.create_task(guarded(awaitable, timeout_s))
    try:
        with waking.WokenBySignals(loop):
            outcome = loop.run_until_complete(task)
    except (KeyboardInterrupt, SystemExit):  # raised in a child task or between two steps
        _end(loop, task)
        raise
    return outcome.unwrap()


def _end(loop: asyncio.AbstractEventLoop, task: asyncio.Task[Outcome[Any]]) -> None:
    """Cancel an interrupted chain and let it clean up; a second Ctrl-C cuts that short."""
    if not task.done():
        task.cancel()
        with contextlib.suppress(KeyboardInterrupt):
            loop.run_until_complete(asyncio.wait([task], timeout=_LAST_WORDS_S))
    if task.done() and not task.cancelled():
        task.exception()  # looked at, so that asyncio does not report it as lost


def _wait_parked(
    loop: asyncio.AbstractEventLoop,
    frame: FrameType,
    awaitable: Awaitable[T],
    timeout_s: float | None,
) -> T:
    """Park this stack until the awaitable is done, while the loop below goes on."""
    __tracebackhide__ = True
    struck: BaseException | None = None
    # The wait begins before the task: an interrupt between the two would leave the task behind.
    with interrupt.Wait(loop, _nothing) as wait:
        task = loop.create_task(guarded(awaitable, timeout_s))
        waiter = _DoorWaiter(task) if cells.in_kernel() else None
        wait.release = waiter.settle if waiter is not None else None
        wait.cancel = task.cancel
        if wait.hits:
            task.cancel()
        try:
            parked.park_until(loop, waiter or task, frame)
        except (KeyboardInterrupt, SystemExit) as error:  # raised by some handle of the loop
            struck = error
        if waiter is not None and waiter.left_with is not None:
            raise waiter.left_with
        if not task.done():
            task.cancel()
            last_words = loop.create_task(_ended_or_late(task))
            with contextlib.suppress(KeyboardInterrupt):
                parked.park_until(loop, last_words)
    if task.cancelled():
        _close_unstarted(awaitable)
    if isinstance(struck, SystemExit):
        raise interrupt.as_task_may_raise(struck)
    if struck is not None or wait.hits:
        raise interrupt.as_task_may_raise(interrupt.Interrupted(_state_of(task))) from None
    outcome = task.result()
    if outcome.error is not None:
        outcome.error = interrupt.as_task_may_raise(outcome.error)
    return outcome.unwrap()


def _nothing() -> None: ...


class _DoorWaiter(Waiter):
    """Wait for a task in the door, so that the wait can end and leave the task alone."""

    def __init__(self, task: asyncio.Task[Any]) -> None:
        super().__init__(task.get_loop(), None)
        self._task = task
        self.left_with: Exception | None = None
        task.add_done_callback(self._ended)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the task; the wait ends when that has ended."""
        return self._task.cancel(msg=msg)

    def _ended(self, _: asyncio.Task[Any]) -> None:
        _left_behind.discard(self._task)
        self.settle()

    def _settle(self, error: Exception | None) -> None:
        if error is not None and not self.done():
            self.left_with = error
            _left_behind.add(self._task)  # a loop holds its tasks weakly
        if not self.done():
            self.set_result(None)


_left_behind: set[asyncio.Task[Any]] = set()


def _close_unstarted(*awaitables: Any) -> None:
    """Drop what was cancelled before its first step, so that Python does not complain."""
    for each in awaitables:
        if _is_unstarted(each):
            each.close()


def _is_unstarted(awaitable: Any) -> bool:
    if isinstance(awaitable, Driven):
        return True  # it leaves alone what somebody else has started
    is_coroutine = inspect.iscoroutine(awaitable)
    return is_coroutine and inspect.getcoroutinestate(awaitable) == inspect.CORO_CREATED


def _state_of(task: asyncio.Task[Any]) -> str:
    if not task.done():
        return "The chain has not ended yet."
    try:
        task.result()
    except asyncio.CancelledError as error:  # a call says how far it has come
        return str(error) or "The chain was cancelled."
    return "The chain was cancelled."


async def _ended_or_late(task: asyncio.Task[Any]) -> None:
    await asyncio.wait([task], timeout=_LAST_WORDS_S)


def _wait_elsewhere(
    loop: asyncio.AbstractEventLoop,
    awaitable: Awaitable[T],
    timeout_s: float | None,
    job: Job | None = None,
) -> T:
    """Start the awaitable as a task of a loop in another thread, and block until it is done."""
    done: concurrent.futures.Future[Outcome[T] | None] = concurrent.futures.Future()
    tasks: list[asyncio.Task[Outcome[T]]] = []
    chains: list[Any] = [awaitable]

    def start() -> None:
        chain = guarded(awaitable, timeout_s)
        outer = chain if job is None else _without_slot(job, chain)
        chains[:0] = outer, chain
        tasks.append(loop.create_task(outer))
        tasks[0].add_done_callback(lambda _: _close_unstarted(*chains))
        tasks[0].add_done_callback(_passing_on(done))
        if job is not None:
            job.waits_for(tasks[0])

    with _standing_still() as context:
        try:
            loop.call_soon_threadsafe(start, context=context)
            outcome = _taken(done, loop)
        except (KeyboardInterrupt, asyncio.CancelledError):
            with contextlib.suppress(BaseException):  # we are leaving with the interrupt anyway
                loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
                done.result(_LAST_WORDS_S)
            raise
        except RuntimeError:  # what asyncio and `_taken` raise of a closed loop
            _close_unstarted(*chains)  # the loop took its last turn before theirs
            raise _ended(awaitable) from None
    if outcome is None:
        raise asyncio.CancelledError
    return outcome.unwrap()


@contextlib.contextmanager
def _standing_still() -> Generator[contextvars.Context]:
    """Give the Context for a chain elsewhere; it knows that this thread's loop waits for it."""
    context = contextvars.copy_context()
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `run`
    if running is None:
        yield context
        return
    here = _Standstill(running)
    context.run(_below.set, (*_below.get(), here))
    try:
        yield context
    finally:
        here.is_over = True


def _taken(
    done: concurrent.futures.Future[Outcome[T] | None], loop: asyncio.AbstractEventLoop
) -> Outcome[T] | None:
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `run`
    task = asyncio.current_task(running) if running is not None else None
    requests = task.cancelling() if task is not None else 0
    while True:
        try:
            return done.result(_LOOK_S)
        except TimeoutError:
            if loop.is_closed() and not done.done():
                raise LoopClosedError from None
            # Under `asyncio.run` Ctrl-C raises nothing: it cancels the main task, whose loop is
            # the one that stands still.
            if task is not None and task.cancelling() > requests:
                raise asyncio.CancelledError from None


async def _without_slot(job: Job, chain: Awaitable[Outcome[T]]) -> Outcome[T]:
    job.give_slot_back()
    try:
        # Cancelled, it takes none again: the loop may be ending, and a slot may be long in coming.
        outcome = await chain
    finally:
        job.chain = None  # it may hold an error, whose traceback holds this frame
    await job.take_slot()
    return outcome


def _passing_on(done: concurrent.futures.Future[Outcome[T] | None]) -> Any:
    def pass_on(task: asyncio.Task[Outcome[T]]) -> None:
        # An error set here would hold, by its traceback, the frame that holds this future.
        done.set_result(None if task.cancelled() else task.result())

    return pass_on
