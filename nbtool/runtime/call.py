"""`Call`: what `acall()` returns, the same type everywhere.

It is awaited like a coroutine. Only its start differs: written in a notebook's cell it starts at
once, as a task of its own on the loop that is running, so that the cell can end and the chain goes
on; anywhere else it starts at its first ``await``, exactly like a coroutine.

Nobody waits for the task itself. Each waiter has a future of its own, so that a waiter can be
cancelled, time out or be released without touching the chain; the last waiter that is cancelled
takes the chain with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import time
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.runtime import cells, forking, inflight, interrupt
from nbtool.runtime.driven import Driven
from nbtool.runtime.forgotten import ForgottenAwait
from nbtool.runtime.outcome import Outcome, guarded, users_frames
from nbtool.runtime.waiters import Waiter
from nbtool.tracing.boundary import current_span, traced
from nbtool.tracing.process import process_recorder
from nbtool.tracing.tree import Trace, subtree

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Generator
    from collections.abc import Set as AbstractSet

    from nbtool.runtime.streams import Stream
    from nbtool.tracing.span import Kind, Run, Span

T = TypeVar("T")

_NO_CONTEXT = contextvars.Context()
_LAST_WORDS_S = 1.0  # how long a cancelled chain may take to clean up before its waiter leaves


class Call(ForgottenAwait, Driven[T]):
    """Be a call of a step: awaitable, and a handle on what it does.

    Args:
        name: Whose call it is.

    Attributes:
        name: Whose call it is.
        cell: What the cell that made it is called; empty elsewhere.
        span: The step that it opened; None before it has started.
        prepare: Called with its run before the first step; see `before_start`.
    """

    # Defaults stand in the class: inside programs a call must cost what a coroutine costs.
    cell: str = ""
    span: Span | None = None
    prepare: Callable[[Run], object] | None = None
    _task: asyncio.Task[Outcome[T]] | None = None
    _driver: asyncio.Task[Any] | None = None  # awaits a chain that has no task of its own
    _outcome: Outcome[T] | None = None
    _cancelled: bool = False
    _started_s: float | None = None
    _waiters: AbstractSet[Waiter] = frozenset()  # replaced, never changed
    _was_seen: bool = False
    _was_copied: bool = False
    _chain: Coroutine[Any, Any, T]

    def __init__(self, name: str) -> None:
        self.name = name

    def carry(self, chain: Coroutine[Any, Any, T]) -> None:
        """Take up the chain that does the work; nothing of it has run yet."""
        chain.__qualname__ = f"{self.name}.acall"  # what "was never awaited" names
        self._chain = chain

    # -- starting ------------------------------------------------------------------------------

    def start(self, loop: asyncio.AbstractEventLoop, cell: str = "") -> None:
        """Start the chain as a task of its own.

        Args:
            cell: What the cell is called that makes the call.
            loop: The loop that runs in this thread.
        """
        self.cell = cell
        context = contextvars.copy_context()
        cells.keep_output(context)
        self._begin()
        self._task = loop.create_task(guarded(self._chain), name=self.name, context=context)
        self._task.add_done_callback(self._ended)

    def _begin(self) -> None:
        self._started_s = time.monotonic()
        if current_span() is None:
            inflight.add(self)

    def _ended(self, task: asyncio.Task[Outcome[T]]) -> None:
        if task.cancelled():
            self._cancelled = True
            self._chain.close()  # it may not have begun
        else:
            self._outcome = task.result()
        self._release()

    def _release(self) -> None:
        inflight.discard(self)
        for waiter in self._waiters:
            waiter.settle()

    # -- waiting -------------------------------------------------------------------------------

    def __await__(self) -> Generator[Any, Any, T]:
        """Wait for the result; a call that has not started yet starts now."""
        return self._coroutine().__await__()

    def _coroutine(self) -> Coroutine[Any, Any, T]:
        if self._started_s is None and not self._cancelled:
            if cells.in_kernel() and current_span() is None:
                # Not in the task of the cell that waits: the cell can then end before the chain.
                self.start(asyncio.get_running_loop())
                return self._join(takes_along=True)
            self._begin()
            return self._drive()
        return self._join(takes_along=True)

    async def _drive(self) -> T:
        """Run the chain inside the awaiting task, as a coroutine does."""
        self._driver = asyncio.current_task()
        try:
            value = await self._chain
        except asyncio.CancelledError:
            self._cancelled = True
            raise
        except BaseException as error:
            self._outcome = Outcome(None, error, _NO_CONTEXT, _NO_CONTEXT)
            if current_span() is None:
                error.__traceback__ = users_frames(error.__traceback__)
            raise
        else:
            self._outcome = Outcome(value, None, _NO_CONTEXT, _NO_CONTEXT)
            return value
        finally:
            self._driver = None
            self._was_seen = True  # by whoever awaited it
            self._release()

    async def _join(self, *, takes_along: bool) -> T:
        """Wait on a future of one's own until the chain has ended."""
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        if self.done():
            return self._taken()
        task = self._task or self._driver
        if task is not None and forking.stands_still(task.get_loop()):
            raise forking.refused(self)
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop, self if takes_along else None)
        self._waiters = {*self._waiters, waiter}
        if self.done():  # it ended meanwhile in another thread, which did not see this waiter
            waiter.settle()
        wait = interrupt.Wait(loop, waiter.cancel, release=waiter.settle, call=self)
        try:
            with wait:
                await waiter
        except asyncio.CancelledError:
            if takes_along and self._waiters == {waiter}:
                with contextlib.suppress(asyncio.CancelledError):  # a second interrupt
                    await self._clean_up(loop)
            # Not `Stopped`: `asyncio.timeout` knows its own cancellation by this very class.
            kind = interrupt.InterruptedWait if wait.hits else asyncio.CancelledError
            raise kind(self._notice()) from None
        finally:
            self._waiters = self._waiters - {waiter}
        if wait.hits and self._cancelled:  # the interrupt struck in the chain itself
            raise interrupt.InterruptedWait(self._notice())
        return self._taken()

    def end_for(self, waiter: asyncio.Future[None]) -> None:
        """Cancel the chain with a waiter that is cancelled, if nobody else waits."""
        if self._waiters == {waiter}:
            self.cancel()

    def detach(self, error: Exception) -> int:
        """End all waits for the call with an error; the chain goes on.

        Returns:
            How many there were.
        """
        return sum(waiter.settle(error) for waiter in self._waiters)

    async def _clean_up(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let a cancelled chain clean up, as long as that does not take long."""
        if not self.done():
            waiter = Waiter(loop, None)
            self._waiters = {*self._waiters, waiter}
            await asyncio.wait([waiter], timeout=_LAST_WORDS_S)
            self._waiters = self._waiters - {waiter}

    def _notice(self) -> str:
        state = "was cancelled" if self.done() else "was told to stop and has not ended yet"
        return f"{self.name} {state}."

    def _taken(self) -> T:
        __tracebackhide__ = True
        self._was_seen = True
        if self._outcome is None:
            raise interrupt.Stopped(f"{self.name} was cancelled.")
        error = self._outcome.error
        if isinstance(error, KeyboardInterrupt | SystemExit):
            raise interrupt.as_task_may_raise(error)
        if self._was_copied or self._task is None:
            return self._outcome.value_or_raise()
        self._was_copied = True  # later waiters may have moved on to other values of their own
        return self._outcome.unwrap()

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the result from synchronous code; see `nbtool.run`.

        Args:
            timeout_s: How long to wait, in seconds; the call goes on afterwards.

        Raises:
            TimeoutError: It has not ended in that time.
        """
        __tracebackhide__ = True
        from nbtool.runtime.door import run  # the door opens calls too, so it lies above

        if self.done():
            return self._taken()
        if self._started_s is None:
            return run(self, timeout_s=timeout_s)
        try:
            return run(self._join(takes_along=False), timeout_s=timeout_s)
        except KeyboardInterrupt:  # the user's own, in a cell that waits: it is meant for the call
            self.cancel()
            with contextlib.suppress(asyncio.CancelledError, TimeoutError):
                run(self._join(takes_along=False), timeout_s=_LAST_WORDS_S)
            raise

    def stream(self, *fields: str) -> Stream[T]:
        """Give the texts of the answers while they arrive, for ``async for`` or ``for``.

        Text comes as the LM writes it; fields of other types come whole. An answer that is not
        streamed, e.g. one from the cache, comes as one piece. Awaiting the call gives its result,
        during and after the loop. Leaving the loop early ends the call, and the request with it,
        if nobody else waits for the call.

        Args:
            *fields: Names of the fields to give, such as ``"answer"``; or, to name the predictor
                too, ``"extract.answer"``. By default all.

        Returns:
            An iterator over `StreamResponse`; what the call raises, it raises at its end.

        Example:
            >>> import nbtool
            >>> from nbtool.testing import DummyLM
            >>> with nbtool.context(lm=DummyLM([{"answer": "Paris"}])):
            ...     call = nbtool.Predict("question -> answer").acall(question="?")
            ...     print(*call.stream("answer"))
            Paris
        """
        from nbtool.runtime.streams import Stream  # it waits in the door, so it lies above

        return Stream(self, fields)

    def before_start(self, prepare: Callable[[Run], object]) -> None:
        """Let a function see the call's run before its first step; others too."""
        before = self.prepare

        def both(run: Run) -> None:
            if before is not None:
                before(run)
            prepare(run)

        self.prepare = both

    # -- looking and stopping ------------------------------------------------------------------

    @property
    def has_started(self) -> bool:
        """Whether somebody has awaited the call, or a cell has started it."""
        return self._started_s is not None

    def done(self) -> bool:
        """Tell whether the call has ended, in whatever way."""
        return self._outcome is not None or self._cancelled

    def when_done(self, then: Callable[[], object]) -> None:
        """Call a function when a call that runs as a task of its own has ended."""
        if self._task is not None:
            self._task.add_done_callback(lambda _: then())

    def cancelled(self) -> bool:
        """Tell whether the call ended by cancellation."""
        return self._cancelled

    def exception(self) -> BaseException | None:
        """Return what the call raised; None where it gave a result, or runs."""
        self._was_seen = True
        return self._outcome.error if self._outcome is not None else None

    def cancel(self) -> bool:
        """Stop the call, from any thread; False where it has ended before."""
        if self.done():
            return False
        task = self._task or self._driver
        if task is None:
            self._cancelled = True
            self._chain.close()
            return True
        if task.get_loop() is events._get_running_loop():  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `_release`
            return task.cancel("stopped")
        task.get_loop().call_soon_threadsafe(task.cancel, "stopped")
        return True

    @property
    def trace(self) -> Trace:
        """The steps of this call so far; empty before it has started."""
        span = self.span
        if span is None:
            return Trace.of([])
        return Trace(lambda: subtree(process_recorder.records(), span.id))

    @property
    def cost_usd(self) -> float | None:
        """What the call has cost so far; None where no price is known."""
        return self.trace.totals.cost_usd

    @property
    def age_s(self) -> float:
        """Seconds since the call started; 0 before."""
        return 0.0 if self._started_s is None else time.monotonic() - self._started_s

    def _abandon(self) -> None:
        if self._started_s is None:
            self.cancel()

    # -- being shown ---------------------------------------------------------------------------

    def __repr__(self) -> str:
        return f"<Call {self.name}: {self._state()}>"

    def _state(self) -> str:
        if self._cancelled:
            return "cancelled"
        if self._outcome is not None and self._outcome.error is not None:
            self._was_seen = True
            error = self._outcome.error
            return f"failed with {type(error).__name__}: {error}"
        if self._outcome is not None:
            return f"done, result {self._outcome.value!r}"
        if self._started_s is None:
            return "not started; await it"
        where = f", made in {self.cell}" if self.cell else ""
        cost = self.cost_usd
        spent = f", {cost:.4f} USD so far" if cost is not None else ""
        return f"running for {self.age_s:.1f} s{where}{spent}; await it, or call .result()"

    def __del__(self) -> None:
        outcome = self.__dict__.get("_outcome")
        if outcome is None or outcome.error is None or self._was_seen:
            return
        if isinstance(outcome.error, KeyboardInterrupt):  # whoever interrupts it knows
            return
        note = f"nbtool: {self.name} failed, and nobody asked for its result: {outcome.error!r}"
        outcome.start.run(print, note, file=sys.stderr)  # so that it lands below its own cell


def call_of(
    kind: Kind,
    name: str,
    fn: Callable[..., Awaitable[T]],
    inputs: dict[str, Any],
    *,
    subject: object = None,
    starts: bool = True,
) -> Call[T]:
    """Make a call of a step, started at once where a cell's code makes it.

    Args:
        kind: What sort of step it is.
        name: Whose step it is.
        fn: The step itself, called as ``fn(**inputs)``.
        inputs: Its arguments by name.
        subject: The object whose step it is.
        starts: False: it does not start by itself in a cell either.
    """
    call: Call[T] = Call(name)
    call.carry(traced(kind, name, fn, inputs, subject=subject, call=weakref.ref(call)))
    if starts and cells.in_kernel() and current_span() is None:
        loop = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `_release`
        cell = cells.calling_cell() if loop is not None else None
        if loop is not None and cell is not None:
            call.start(loop, cell)
            interrupt.watch()
    return call
