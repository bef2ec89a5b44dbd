"""The boundary: the one place that opens spans.

Every step of a call (module, predictor, LM, tool, adapter, decorated function) is a coroutine
function that goes through `traced`. Whoever wants to see, count or export steps is an
`Instrument` here; there is no second hook system.
"""

from __future__ import annotations

import contextlib
import logging
import time
from asyncio import CancelledError, events
from contextvars import Context, ContextVar, copy_context
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from nbtool.errors import LoopError
from nbtool.ownership import refuse_where
from nbtool.tracing.span import Kind, Run, Span

if TYPE_CHECKING:
    import weakref
    from collections.abc import Awaitable, Callable, Generator

T = TypeVar("T")
_log = logging.getLogger("nbtool")
_INTERRUPTED = "interrupted"


class Instrument(Protocol):
    """Watch the steps of calls.

    Both methods are called in the middle of the watched program, on its thread: they must be
    quick, must not block, and change nothing. An instrument that raises is logged and dropped;
    the program never notices.
    """

    def opened(self, span: Span) -> None:
        """Take note that a step starts; its inputs are there."""
        ...

    def closed(self, span: Span) -> None:
        """Take note that a step has ended; output or error, and end are there."""
        ...


class Gate(Protocol):
    """Stand at every boundary of one root call: hold, edit, skip, run again.

    There is at most one for a call: `nbtool.debugging` has it. It decides and does not watch.
    """

    async def around(self, span: Span, fn: Callable[..., Awaitable[Any]]) -> Any:
        """Run a step that has just opened.

        Args:
            span: The step; its inputs may be replaced.
            fn: The step itself, called as ``fn(**span.inputs)``. Where it has an attribute
                ``inline``, that is a synchronous function which must run on this very stack, and
                whoever waits goes through the door.

        Returns:
            The step's output.
        """
        ...

    async def leaving(
        self, span: Span, fn: Callable[..., Awaitable[Any]], error: Exception | None
    ) -> Any:
        """End a step that has run before this gate came.

        Args:
            span: The step, with its output.
            fn: As for `around`.
            error: What it has raised, if it failed.

        Returns:
            The step's output.
        """
        ...


_current: ContextVar[Span | None] = ContextVar("nbtool_span", default=None)
_scoped: ContextVar[tuple[Instrument, ...]] = ContextVar("nbtool_instruments", default=())
_process_wide: tuple[Instrument, ...] = ()


def current_span() -> Span | None:
    """Return the step that the calling code is part of, if any."""
    return _current.get()


def context_outside() -> Context:
    """Return a copy of the current Context in which no step is open."""
    context = copy_context()
    context.run(_current.set, None)
    return context


def _is_in_task_of_a_call() -> bool:
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
    return running is not None and _current.get() is not None


refuse_where(_is_in_task_of_a_call, "a task of a running call")


def install(instrument: Instrument) -> None:
    """Let an instrument watch every step of this process from now on."""
    global _process_wide  # noqa: PLW0603 - read without a lock on the hot path, swapped whole
    if instrument not in _process_wide:
        _process_wide = (*_process_wide, instrument)


def uninstall(instrument: Instrument) -> None:
    """Undo `install`; nothing happens where it was not installed."""
    global _process_wide  # noqa: PLW0603 - as in `install`
    _process_wide = tuple(i for i in _process_wide if i is not instrument)


@contextlib.contextmanager
def watching(instrument: Instrument) -> Generator[None]:
    """Let an instrument watch the root calls that start inside the ``with`` block.

    Tasks started inside, and threads started by `asyncio.to_thread`, are included; a call that
    started inside is watched to its end, also when that comes after the block.
    """
    token = _scoped.set((*_scoped.get(), instrument))
    try:
        yield
    finally:
        with contextlib.suppress(ValueError):  # closed in another Context, which has no layer
            _scoped.reset(token)


class Announced(Protocol):
    """Learn which span a call opened.

    Attributes:
        span: The span.
        prepare: Called with the run of a root call before its first step; None for nothing.
    """

    span: Span | None
    prepare: Callable[[Run], object] | None


async def traced(
    kind: Kind,
    name: str,
    fn: Callable[..., Awaitable[T]],
    inputs: dict[str, Any],
    *,
    subject: object = None,
    call: weakref.ref[Announced] | None = None,
) -> T:
    """Run one step of a call inside a span of its own.

    Args:
        kind: What sort of step it is.
        name: Whose step it is.
        fn: The step itself, called as ``fn(**inputs)``.
        inputs: Its arguments by name.
        subject: The object whose step it is. Such a step has a span even where nobody watches:
            history and usage are found through it.
        call: Told which span was opened; held weakly, for it holds this coroutine.

    Returns:
        What `fn` returned.

    Raises:
        asyncio.CancelledError: The step was cancelled; or Ctrl-C struck in it, which must not
            reach the loop: in a kernel it would end the kernel.
    """
    __tracebackhide__ = True
    parent = _current.get()
    if parent is not None:
        run = parent.run
    else:
        scoped = _scoped.get()
        if not scoped and not _process_wide and subject is None and call is None:
            return await fn(**inputs)
        run = Run(scoped)
    span = Span(run, parent, kind, name, inputs, subject)
    if call is not None:
        _announce(call, span)
    token = _current.set(span)
    try:
        if _process_wide or run.instruments:  # inside: Ctrl-C in a watcher must close the step
            _tell_opened(span)
        output = span.output = await _stepped(span, fn)
    except KeyboardInterrupt as error:
        span.error = error
        raise CancelledError(_INTERRUPTED) from error
    except BaseException as error:
        span.error = error
        raise
    else:
        return output
    finally:
        span.end_s = time.perf_counter()
        try:  # noqa: SIM105 - a `with` would cost a third of the boundary
            _current.reset(token)
        except ValueError:  # a coroutine may be closed in another Context
            pass
        if _process_wide or run.instruments:
            _tell_closed(span)


async def _stepped(span: Span, fn: Callable[..., Awaitable[T]]) -> T:
    """Run a step, past the gate where there is one."""
    __tracebackhide__ = True
    gate = span.run.gate
    if gate is not None:
        return await gate.around(span, fn)
    try:
        output = await fn(**span.inputs)
    except Exception as error:
        gate = span.run.gate  # it may have come while the step ran
        if gate is None:
            raise
        return await gate.leaving(span, fn, error)
    gate = span.run.gate
    if gate is None:
        return output
    span.output = output
    return await gate.leaving(span, fn, None)


def _announce(call: weakref.ref[Announced], span: Span) -> None:
    announced = call()
    if announced is None:
        return
    announced.span = span
    if span.parent is None and announced.prepare is not None:
        announced.prepare(span.run)


def traced_inline(
    kind: Kind,
    name: str,
    fn: Callable[..., T],
    inputs: dict[str, Any],
    *,
    subject: object = None,
) -> T:
    """Run a synchronous step in a span, on the caller's own stack and without a loop.

    The body waits for nothing, so `traced` runs through in one go; pdb, signals, sqlite
    connections and thread-bound objects work in it as without us.

    Args:
        kind: What sort of step it is.
        name: Whose step it is.
        fn: The step itself, called as ``fn(**inputs)``.
        inputs: Its arguments by name.
        subject: As for `traced`.

    Returns:
        What `fn` returned.
    """
    __tracebackhide__ = True  # IPython and pytest leave such frames out

    step = traced(kind, name, without_waiting(fn), inputs, subject=subject)
    try:
        step.send(None)
    except StopIteration as end:
        return end.value
    except CancelledError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):  # no loop is between it and the user
            raise error.__cause__ from None
        raise
    step.close()
    raise LoopError(
        f"The synchronous step {name!r} would have to wait.",
        hint="Call its asynchronous form and await it.",
    )


def without_waiting(fn: Callable[..., T]) -> Callable[..., Awaitable[T]]:
    """Give a synchronous function the form of a step's; see `Gate.around`."""

    async def body(**given: Any) -> T:
        __tracebackhide__ = True
        return fn(**given)

    body.inline = fn  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - for a gate
    return body


def _tell_opened(span: Span) -> None:
    others = span.run.instruments
    for instrument in (*_process_wide, *others) if others else _process_wide:
        try:
            instrument.opened(span)
        except RecursionError:  # the stack is full of the program; the watcher is not to blame
            continue
        except Exception:  # noqa: BLE001 - a watcher must never break what it watches
            _drop(instrument, span.run)


def _tell_closed(span: Span) -> None:
    others = span.run.instruments
    for instrument in (*_process_wide, *others) if others else _process_wide:
        try:
            instrument.closed(span)
        except RecursionError:
            continue
        except Exception:  # noqa: BLE001 - as in `_tell_opened`
            _drop(instrument, span.run)


def _drop(instrument: Instrument, run: Run) -> None:
    _log.exception("The instrument %r failed and watches no more.", type(instrument).__name__)
    uninstall(instrument)
    run.detach(instrument)
