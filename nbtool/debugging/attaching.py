"""`debug`, `breakpoint` and `paused`: how a debugger comes to a chain."""

from __future__ import annotations

import contextlib
import inspect
import logging
import sys
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbtool.debugging import prompt
from nbtool.debugging.breakpoints import as_breakpoints
from nbtool.debugging.gate import can_be_held
from nbtool.debugging.session import Session
from nbtool.debugging.stops import Stop
from nbtool.errors import DebugError
from nbtool.runtime import cells, detaching, inflight, interrupt
from nbtool.runtime.call import Call, call_of
from nbtool.tracing.boundary import current_span, watching

if TYPE_CHECKING:
    from collections.abc import Awaitable, Generator, Iterable

    from nbtool.debugging.breakpoints import Breakpoint, Wanted
    from nbtool.tracing.span import Run, Span

T = TypeVar("T")
_log = logging.getLogger("nbtool")
_sessions: weakref.WeakSet[Session[Any]] = weakref.WeakSet()


def debug(
    awaitable: Awaitable[T],
    *,
    breakpoints: Iterable[Wanted] = (),
    on_error: bool = True,
    stop_first: bool = False,
) -> Session[T]:
    """Run a chain under the debugger.

    In a cell, and wherever a loop runs, the chain starts at once, in the background: every other
    cell can run while it is paused. In a plain script it starts when its result is asked for;
    at a terminal a prompt asks what to do when it is paused (``NBTOOL_PROMPT=0``: none).

    Args:
        awaitable: What ``acall()`` returned, running or not; or a coroutine, which then becomes
            the outermost step.
        breakpoints: Where to stop: kinds, names, predicates or `Breakpoint`.
        on_error: Stop where an error is raised, before it goes up; Retry runs the step again.
        stop_first: Stop before the first step.

    Returns:
        The session; awaiting it gives the chain's result.

    Raises:
        DebugError: The chain has ended, has a debugger already, or cannot have one.

    Example:
        >>> import asyncio, nbtool
        >>> async def double(x):
        ...     return 2 * x
        >>> async def main():
        ...     session = nbtool.debug(nbtool.Tool(double).acall(x=4), breakpoints=["double"])
        ...     await session.wait_paused()
        ...     session.inputs["x"] = 5
        ...     session.resume()
        ...     return await session
        >>> asyncio.run(main())
        10
    """
    session: Session[T] = Session(as_breakpoints(breakpoints), on_error=on_error)
    if stop_first:
        session.pause()
    return debugged(awaitable, session)


def debugged(awaitable: Awaitable[T], session: Session[T]) -> Session[T]:
    """Run a chain under a given session; see `debug`."""
    if current_span() is not None:
        _close(awaitable)
        raise DebugError(
            "debug() was called inside of a step, whose chain is one with it.",
            hint="Debug the whole chain, or call nbtool.breakpoint() here.",
        )
    if isinstance(awaitable, Call):
        call: Call[T] = awaitable
    elif inspect.iscoroutine(awaitable):
        call = _call_of(awaitable)
    else:
        raise DebugError(
            f"debug() cannot stop the steps of {awaitable!r}.",
            hint="Pass what acall() returned, or a coroutine.",
        )
    attach(call, session)
    loop = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
    if not call.has_started and loop is not None:
        call.start(loop, cells.calling_cell() or "")
        interrupt.watch()
    call.when_done(session.call_ended)
    if prompt.is_wanted():
        prompt.attend(session, loop)
    return session


def _call_of(coroutine: Any) -> Call[Any]:
    name = coroutine.__qualname__.rpartition(".")[2]

    async def main() -> Any:
        if inspect.getcoroutinestate(coroutine) != inspect.CORO_CREATED:
            raise DebugError(
                f"The coroutine of {name!r} has run, and a coroutine runs only once.",
                hint="Retry a step inside of it, or start again with a new one.",
            )
        return await coroutine

    return call_of("function", name, main, {}, starts=False)


def attach(call: Call[T], session: Session[T] | None = None) -> Session[T]:
    """Give a call a debugger, before it starts or while it runs.

    Args:
        call: The call, of a root step.
        session: The debugger; by default one that stops at errors.

    Raises:
        DebugError: The call has ended, or has a debugger.
    """
    given: Session[T] = session if session is not None else Session()
    if call.done():
        raise DebugError(f"{call!r} has ended.", hint="Call it again, and debug that call.")
    has_one = any(each.call is call for each in _sessions)
    if has_one or (call.span is not None and call.span.run.gate is not None):
        raise DebugError(
            f"{call!r} has a debugger already.", hint="nbtool.sessions() has its session."
        )
    given.call = call
    _sessions.add(given)
    if call.span is None:
        call.before_start(given.attach)
    else:
        given.take_up(call.span)
        given.attach(call.span.run)
    return given


def attach_to_run(run: Run) -> Session[Any]:
    """Return the debugger of a root call that runs; it gets one if it has none."""
    if run.gate is not None:
        return cast("Session[Any]", run.gate)
    call = next((c for c in inflight.running() if c.span is not None and c.span.run is run), None)
    if call is not None:
        return attach(call)
    session: Session[Any] = Session()
    _sessions.add(session)
    session.attach(run)
    return session


class _Debugging:
    """Give each root call that opens a debugger; an instrument."""

    def __init__(self, breakpoints: list[Breakpoint], *, on_error: bool, stop_first: bool) -> None:
        self._breakpoints = breakpoints
        self._on_error, self._stop_first = on_error, stop_first

    def opened(self, span: Span) -> None:
        if span.parent is not None or span.run.gate is not None:
            return
        session = attach_to_run(span.run)
        session.breakpoints = self._breakpoints
        session.on_error = self._on_error
        session.opened(span)  # whoever tells of this span has not heard of the session yet
        if self._stop_first:
            session.pause()

    def closed(self, span: Span) -> None: ...


@contextlib.contextmanager
def debug_calls(
    *breakpoints: Wanted, on_error: bool = True, stop_first: bool = False
) -> Generator[None]:
    """Give each call that starts inside the ``with`` block a debugger.

    ``%%debug_chain`` does the same for a cell. `nbtool.sessions` has the debuggers.

    Args:
        *breakpoints: Where to stop, as for `nbtool.debug`; all calls share them.
        on_error: Stop where an error is raised.
        stop_first: Stop before the first step of each call.
    """
    wanted = as_breakpoints(breakpoints)
    with watching(_Debugging(wanted, on_error=on_error, stop_first=stop_first)):
        yield


def _close(awaitable: object) -> None:
    if inspect.iscoroutine(awaitable):
        awaitable.close()


def sessions() -> list[Session[Any]]:
    """Return the debuggers of the chains that run.

    Example:
        >>> import nbtool
        >>> nbtool.sessions()
        []
    """
    return [session for session in list(_sessions) if session.ending is None]


def paused() -> list[Session[Any]]:
    """Return the debuggers of the chains that wait somewhere.

    Example:
        >>> import nbtool
        >>> nbtool.paused()
        []
    """
    return [session for session in sessions() if session.paused]


def breakpoint(**values: Any) -> None:  # noqa: A001 - it is what Python's is, for chains
    """Stop the chain here, in the middle of a step; local variables can be looked at.

    It works in asynchronous and in synchronous steps. Outside of a chain, and where nobody could
    let it go on (a script without a debugger), it only warns.

    Args:
        **values: What to show besides the local variables: ``session.paused[0].values``.
    """
    span = current_span()
    is_seen = cells.in_kernel() or (span is not None and span.run.gate is not None)
    if span is None or not is_seen or not can_be_held(None):
        _log.warning("nbtool.breakpoint() was passed: there is no chain here that can be stopped.")
        return
    session = attach_to_run(span.run)
    frame = sys._getframe(1)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - what `inspect` reads too
    shown = {**frame.f_locals, **values}
    del frame
    if session.ending is None:
        session.hold_inside(Stop(span, "inside", "breakpoint()", values=shown))


def _release_instead_of_cancelling() -> bool:
    """Let a cell end that waits for a chain that is paused: an interrupt does that."""
    for session in paused():
        if detaching.is_waited_for(session.call, session.descent):
            return detaching.release(None, str(session)) > 0
    return False


interrupt.ask_first(_release_instead_of_cancelling)
