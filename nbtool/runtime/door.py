"""The door: the one place where synchronous code waits for asynchronous code.

`run` picks the first rung of this ladder that holds:

0. the awaitable lives on another loop that runs: wait for it over there;
1. this thread works for an asynchronous chain: run it on that chain's loop;
2. no loop runs in this thread: run it on this thread's own loop;
5. a loop runs below us and stands still while we wait: run it on the loop of another thread.

(Rung 3 is for Pyodide and rung 4 steps the running loop itself; they are not built yet.)
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import inspect
from asyncio import events
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.errors import LoopClosedError, LoopError, NestedLoopError, WrongLoopError
from nbtool.runtime import threads
from nbtool.runtime.outcome import Outcome, guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from nbtool.runtime.threads import Job

T = TypeVar("T")

_LAST_WORDS_S = 1.0  # how long an interrupted chain may take to clean up


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
    target = _check(awaitable)
    if timeout_s is not None:
        awaitable = _limited(awaitable, timeout_s)
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none, at five times the cost
    if target is not None and target is not running and target.is_running():
        return _wait_elsewhere(target, awaitable)
    if running is None:
        job = threads.current_job()
        if job is not None and target is None:
            return _wait_at_home(job, awaitable)
        return _run_here(target or threads.own_loop(), awaitable)
    if target is not None:
        _refuse_blocked(target, running)
    with threads.loop_thread() as loop:
        return _wait_elsewhere(loop, awaitable)


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
    if loop.is_closed() and not awaitable.done():
        raise LoopClosedError(
            f"{awaitable!r} belongs to a loop that has ended, so it will never be done.",
            hint="Start it again on the loop that runs now.",
        )
    return loop


def _refuse_blocked(target: asyncio.AbstractEventLoop, running: asyncio.AbstractEventLoop) -> None:
    if target is running:
        raise NestedLoopError(
            "run() would wait for a future of the loop that stands still below this call.",
            hint="Write `await` instead of `run(...)`.",
        )
    raise WrongLoopError(
        f"The future belongs to {target!r}, which does not run.",
        hint="Run that loop, or create the future on the loop that runs now.",
    )


async def _limited(awaitable: Awaitable[T], timeout_s: float) -> T:
    async with asyncio.timeout(timeout_s):
        return await awaitable


def _run_here(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[T]) -> T:
    task = loop.create_task(guarded(awaitable))
    try:
        outcome = loop.run_until_complete(task)
    except KeyboardInterrupt:
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


def _wait_at_home(job: Job, awaitable: Awaitable[T]) -> T:
    async def relayed() -> T:
        job.give_slot_back()
        try:
            return await awaitable
        finally:
            await job.take_slot()

    return _wait_elsewhere(job.home, relayed())


def _wait_elsewhere(loop: asyncio.AbstractEventLoop, awaitable: Awaitable[T]) -> T:
    """Start the awaitable as a task of a loop in another thread, and block until it is done."""
    done: concurrent.futures.Future[Outcome[T]] = concurrent.futures.Future()
    tasks: list[asyncio.Task[Outcome[T]]] = []

    def start() -> None:
        task = loop.create_task(guarded(awaitable))
        tasks.append(task)
        task.add_done_callback(_passing_on(done))

    loop.call_soon_threadsafe(start)  # it copies this thread's Context, which the task inherits
    try:
        return done.result().unwrap()
    except KeyboardInterrupt:
        loop.call_soon_threadsafe(lambda: [task.cancel() for task in tasks])
        with contextlib.suppress(BaseException):  # we are leaving with the interrupt anyway
            done.result(_LAST_WORDS_S)
        raise


def _passing_on(done: concurrent.futures.Future[Outcome[T]]) -> Any:
    def pass_on(task: asyncio.Task[Outcome[T]]) -> None:
        if task.cancelled():
            done.set_exception(asyncio.CancelledError())
        else:
            done.set_result(task.result())

    return pass_on
