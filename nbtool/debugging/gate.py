"""`ChainGate`: where the steps of one chain pass, and may be held."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from asyncio import events
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from nbtool.debugging.breakpoints import Breakpoint, Point, Spent
from nbtool.debugging.kept import Kept
from nbtool.debugging.open_steps import OpenSteps
from nbtool.debugging.stepping import Stepping
from nbtool.debugging.stops import GO, Decision, Reason, Stop, Waiting
from nbtool.errors import DebugError
from nbtool.runtime import rehearsal
from nbtool.runtime.door import run
from nbtool.tracing.record import text_of_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nbtool.tracing.span import Run, Span

Ending = Literal["finished", "failed", "stopped"]
State = Literal["idle", "running", "pausing", "paused", "stepping", "finished", "failed", "stopped"]
_log = logging.getLogger("nbtool")
_NOTHING: Any = object()


class Source(Protocol):
    """Serve outputs of steps that then do not run: see `nbtool.debugging.replaying`."""

    async def entered(self, span: Span, fn: Callable[..., Any]) -> None:
        """Take note that a step begins; may replace its inputs."""
        ...

    async def served(self, span: Span, otherwise: Any, *, can_wait: bool) -> Any:
        """Return a step's output, or raise its error; `otherwise`: it has to run."""
        ...


@dataclasses.dataclass(slots=True)
class Again:
    """Say how a step is run again.

    Attributes:
        func: What runs instead.
        lm: The LM that it uses instead.
        inputs: Inputs to replace, by name.
        is_fresh: Whether nothing that it got before is served.
        note: What a person should know.
    """

    func: Callable[..., Any] | None = None
    lm: Any = None
    inputs: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    is_fresh: bool = False
    note: str = ""


class ChainGate:
    """Hold steps at their boundaries, and know what is open.

    It is the gate of one `Run`, and an instrument on it.

    Args:
        breakpoints: Where to stop.
        on_error: Whether to stop where an error is raised.
        source: Serves outputs; None: every step runs.

    Attributes:
        breakpoints: Where to stop; may be changed at any time.
        on_error: Whether to stop where an error is raised.
        spent: What the chain has spent so far.
        ending: How it has ended; None before.
    """

    def __init__(
        self, breakpoints: list[Breakpoint], *, on_error: bool, source: Source | None = None
    ) -> None:
        self.breakpoints = breakpoints
        self.on_error = on_error
        self.spent = Spent()
        self.ending: Ending | None = None
        self._source = source
        self._stepping = Stepping()
        self._waiting = Waiting()
        self._kept = Kept()
        self._open = OpenSteps()
        self._retries: dict[int, Again] = {}  # steps to run again when they fail
        self._root: Span | None = None
        self._is_stopping = False
        self._listeners: list[Callable[[], object]] = []

    # -- being attached ------------------------------------------------------------------------

    def attach(self, run: Run) -> None:
        """Stand at the boundaries of a root call from now on, also where it runs already."""
        run.gate = self
        run.attach(self)
        for instrument in run.instruments:
            if told := getattr(instrument, "debugged_by", None):
                told(self)

    def take_up(self, root: Span) -> None:
        """Learn what is open of a call that runs already."""
        self._root = root
        self._open.take_up(root)

    def opened(self, span: Span) -> None:
        """Take note that a step starts."""
        self._open.add(span)
        if span.parent is None:
            self._root = span
        if self._stepping.is_halting:
            self._changed()

    def closed(self, span: Span) -> None:
        """Take note that a step has ended."""
        self._open.discard(span)
        self._stepping.passes.pop(span.id, None)
        self._retries.pop(span.id, None)
        self._kept.withdraw(span)
        if span.error is None:
            self._kept.note(span)
        if span.parent is None:
            self._end(span)
        elif self._stepping.is_halting:
            self._changed()

    def _end(self, root: Span) -> None:
        error = root.error
        if error is None:
            self._over("finished")
        else:
            is_cancel = isinstance(error, asyncio.CancelledError | GeneratorExit)
            self._over("stopped" if is_cancel else "failed")

    def _over(self, ending: Ending) -> None:
        self.ending = ending
        self._stepping.run_on()
        self._kept.clear()
        for stop in self._waiting.all():  # tasks that the chain has left behind
            self._release(stop, Decision("raise" if stop.place == "failed" else "go"))
        self._changed()

    # -- state ---------------------------------------------------------------------------------

    @property
    def state(self) -> State:
        """What the chain does now."""
        if self.ending is not None:
            return self.ending
        if self._root is None:
            return "idle"
        if len(self._waiting) and not (self._stepping.is_halting and self.in_flight):
            return "paused"
        if self._stepping.is_halting:
            return "stepping" if self._stepping.is_step else "pausing"
        return "running"

    @property
    def paused(self) -> list[Stop]:
        """The branches that wait, oldest first."""
        return self._waiting.all()

    @property
    def in_flight(self) -> list[tuple[int, str]]:
        """Innermost steps that run and do not wait: id, and kind with name."""
        return self._open.innermost(without={stop.span.id for stop in self._waiting.all()})

    def listen(self, listener: Callable[[], object]) -> Callable[[], None]:
        """Call a quick function, without arguments, when the state may be another.

        It is called on whichever thread the change happens. One that raises is dropped.

        Returns:
            A function that ends it.
        """
        self._listeners.append(listener)

        def end() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return end

    def _changed(self) -> None:
        for listener in list(self._listeners):
            try:
                listener()
            except Exception:  # noqa: BLE001 - a client must never break the chain
                _log.exception("A listener of a debugger failed and is told no more.")
                self._listeners.remove(listener)

    # -- the gate ------------------------------------------------------------------------------

    async def around(self, span: Span, fn: Callable[..., Awaitable[Any]]) -> Any:
        """Run a step that has just opened; see `nbtool.tracing.boundary.Gate`."""
        __tracebackhide__ = True
        if self._is_stopping:
            raise asyncio.CancelledError("stopped")
        if self._source is not None:
            await self._source.entered(span, fn)
        stop = self._stop_at(span, "before", fn)
        if stop is not None:
            decision = await self._held(stop)
            if decision.verb == "skip":
                return decision.value
            fn = decision.fn or fn
        return await self._attempts(span, fn, has_run=False, error=None)

    async def leaving(
        self, span: Span, fn: Callable[..., Awaitable[Any]], error: Exception | None
    ) -> Any:
        """End a step that has run before; see `nbtool.tracing.boundary.Gate`."""
        __tracebackhide__ = True
        return await self._attempts(span, fn, has_run=True, error=error)

    async def _attempts(
        self,
        span: Span,
        fn: Callable[..., Awaitable[Any]],
        *,
        has_run: bool,
        error: Exception | None,
    ) -> Any:
        __tracebackhide__ = True
        is_first = True
        while True:
            try:
                if error is not None:
                    raise error  # noqa: TRY301 - as if the step raised it here
                if not has_run:
                    span.output = await self._output_of(span, fn, is_first)
            except Exception as raised:
                decision = await self._after_error(span, fn, raised)
                if decision.verb in ("raise", "go"):
                    raise
            else:
                decision = await self._after(span, fn)
            if decision.verb == "skip":
                return decision.value
            if decision.verb != "retry":
                return span.output
            fn, has_run, error = cast("Any", decision.fn) or fn, False, None
            is_first = False

    async def _output_of(
        self, span: Span, fn: Callable[..., Awaitable[Any]], is_first: bool
    ) -> Any:
        __tracebackhide__ = True
        earlier = self._kept.take(span)
        if earlier is not None:
            span.annotate(kept=True)
            return earlier.output
        if self._source is not None and is_first:
            can_wait = getattr(fn, "inline", None) is None
            output = await self._source.served(span, _NOTHING, can_wait=can_wait)
            if output is not _NOTHING:
                return output
        return await fn(**span.inputs)

    async def _after(self, span: Span, fn: Callable[..., Awaitable[Any]]) -> Decision:
        if span.kind == "lm":
            self._count(span)
        stop = self._stop_at(span, "after", fn)
        return await self._held(stop) if stop is not None else GO

    async def _after_error(
        self, span: Span, fn: Callable[..., Awaitable[Any]], error: Exception
    ) -> Decision:
        stop = self._stop_at(span, "failed", fn, error)
        _mark_met(error, span)
        again = self._retries.pop(span.id, None)  # asked for while a step inside of it waited
        if again is not None:
            stop = Stop(span, "failed", "error", fn, error=error)
            try:
                decision = self._prepared(stop, again)
            except DebugError as refused:
                stop.note = str(refused)
                decision = await self._held(stop)
        elif stop is not None:
            decision = await self._held(stop)
        else:
            return Decision("raise")
        if decision.verb != "raise":
            _note_attempt(span, error)
        return decision

    def _prepared(self, stop: Stop, again: Again) -> Decision:
        """Return what runs a step again; DebugError where that cannot be."""
        raise NotImplementedError

    def _count(self, span: Span) -> None:
        usage = span.usage or {}
        tokens = sum(usage.get(n) or 0 for n in ("prompt_tokens", "completion_tokens"))
        with self._waiting.lock:
            self.spent = Spent(self.spent.usd + (span.cost_usd or 0.0), self.spent.tokens + tokens)

    # -- stopping ------------------------------------------------------------------------------

    def _stop_at(
        self, span: Span, point: Point, fn: Callable[..., Any], error: Exception | None = None
    ) -> Stop | None:
        """Return the stop that this boundary is, if it is one."""
        if self.ending is not None:
            return None
        found = self._reason(span, point, error)
        if found is None or not can_be_held(fn):
            return None
        reason, note = found
        return Stop(span, point, reason, fn, error=error, note=note)

    def _reason(
        self, span: Span, point: Point, error: Exception | None
    ) -> tuple[Reason, str] | None:
        if error is not None and any(above.id in self._retries for above in span.ancestors()):
            return None  # it is on its way up to a step that runs again
        if self._stepping.stops(span, point):
            return "step" if self._stepping.is_step else "pause", ""
        if error is not None and self.on_error and not _was_met_inside(error, span):
            return "error", ""
        for breakpoint_ in self.breakpoints:
            try:
                if breakpoint_.stops(span, point, self.spent):
                    return "breakpoint", str(breakpoint_)
            except Exception as failure:  # noqa: BLE001 - a user's predicate may do anything
                breakpoint_.is_on = False
                return "breakpoint", f"The breakpoint {breakpoint_} raised {failure!r}; it is off."
        return None

    async def _held(self, stop: Stop) -> Decision:
        """Let a branch wait until it is told to go on."""
        __tracebackhide__ = True
        is_inline = getattr(stop.fn, "inline", None) is not None
        decision = run(self._hold(stop)) if is_inline else await self._hold(stop)
        if decision.is_free:
            self._stepping.let_go()
        return decision

    async def _hold(self, stop: Stop) -> Decision:
        with self._waiting.lock:
            # A command may have come, in another thread, since it was decided to stop.
            is_over = stop.reason in ("pause", "step") and not self._stepping.is_halting
            if is_over or self.ending is not None:
                return Decision("raise" if stop.place == "failed" else "go")
            future = stop.arm(asyncio.get_running_loop())
            self._waiting.add(stop)
            self._stepping.arrived(stop.span)
        self._changed()
        try:
            return await future
        finally:
            if self._waiting.take(stop):  # cancelled, or its time was over
                self._changed()

    def hold_inside(self, stop: Stop) -> None:
        """Let a branch wait inside of its step, from synchronous code; see `breakpoint`."""
        __tracebackhide__ = True
        if run(self._hold(stop)).is_free:
            self._stepping.let_go()

    def _release(self, stop: Stop, decision: Decision) -> None:
        """Tell a branch to go on; nothing happens where that was done before."""
        if self._waiting.take(stop):
            stop.tell(decision)


def can_be_held(fn: Callable[..., Any] | None) -> bool:
    """Tell whether the calling step can wait: a synchronous one on some loops cannot."""
    if fn is not None and getattr(fn, "inline", None) is None:
        return True
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
    return running is None or rehearsal.frame_below(running) is not None


def _mark_met(error: Exception, span: Span) -> None:
    """Note on an error at which step it was met first: outer steps let it pass."""
    if not _was_met_inside(error, span):
        path = (span.id, *(above.id for above in span.ancestors()))
        try:
            error.__nbtool_met__ = path  # type: ignore[attr-defined] # one attribute of ours
        except Exception:  # noqa: BLE001 - slots, frozen, …: each boundary then stops
            return


def _was_met_inside(error: Exception, span: Span) -> bool:
    path = getattr(error, "__nbtool_met__", ())
    return span.id in path[1:]


def _note_attempt(span: Span, error: Exception) -> None:
    earlier = (span.attributes or {}).get("attempts", [])
    made = {"error": type(error).__name__, "message": text_of_error(error)}
    span.annotate(attempts=[*earlier, made])
