"""`Session`: the debugger of one chain, without a screen."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbtool.debugging import redefined
from nbtool.debugging.edits import Inputs, checked_inputs, checked_output, mapping_of
from nbtool.debugging.gate import Again, ChainGate, Source
from nbtool.debugging.stops import Decision, Place, Stop
from nbtool.errors import DebugError
from nbtool.runtime import cells, detaching

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

    from nbtool.debugging.breakpoints import Breakpoint
    from nbtool.runtime.call import Call
    from nbtool.tracing.span import Span

T = TypeVar("T")

_UNSET: Any = object()
_BEFORE: tuple[Place, ...] = ("before", "after", "inside")
Chosen = Stop | int | None


class Session(ChainGate, Generic[T]):
    """Pause a chain, look, edit, step, mend and go on; `nbtool.debug` makes one.

    Each command takes the step to act on: its id, the `Stop`, or nothing for the one that waits
    longest among those for which the command means something. A command that means nothing now
    raises `DebugError` and changes nothing. All of them may be called from any thread and cell.

    Awaiting a session gives the chain's result, as awaiting the call does.

    Args:
        breakpoints: Where to stop.
        on_error: Whether to stop where an error is raised.
        source: Serves outputs of steps.

    Attributes:
        call: The chain's handle; None where it has none, e.g. a decorated function.
        descent: Stands for the cell from which the chain descends.
    """

    def __init__(
        self,
        breakpoints: list[Breakpoint] | None = None,
        *,
        on_error: bool = True,
        source: Source | None = None,
    ) -> None:
        super().__init__(list(breakpoints or []), on_error=on_error, source=source)
        self.call: Call[T] | None = None
        self.descent = cells.descent()

    # -- going on ------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop every branch at its next boundary; an LM call in flight runs to its end."""
        with self._waiting.lock:
            is_paused = self.state == "paused" and self._stepping.is_halting
            if self.ending is not None or is_paused:
                raise self._refusal("pause()")
            self._stepping.halt(is_step=False)
        self._changed()

    def resume(self, step: Chosen = None) -> None:
        """Let all branches run, or one of them while the others wait.

        Branches that wait at an error stay: they need `retry`, `skip` or `raise_`.
        """
        with self._waiting.lock:
            if step is not None:
                chosen = [self._chosen("resume()", step, *_BEFORE)]
                decision = Decision("go", is_free=True)
            else:
                chosen = [stop for stop in self.paused if stop.place in _BEFORE]
                decision = Decision("go")
                if not chosen and not self._stepping.is_halting:
                    raise self._refusal("resume()")
                self._stepping.run_on()
            for stop in chosen:
                self._release(stop, decision)
        self._changed()

    def step_into(self, step: Chosen = None) -> None:
        """Run a branch to its next boundary."""
        self._step("step_into()", step, lambda _: None)

    def step_over(self, step: Chosen = None) -> None:
        """Run a branch to the end of its step; at the end, to the next boundary."""
        self._step("step_over()", step, lambda stop: self._stepping.over(stop.span, stop.place))

    def step_out(self, step: Chosen = None) -> None:
        """Run a branch to the end of the step around it."""
        self._step("step_out()", step, lambda stop: self._stepping.out(stop.span))

    def _step(self, command: str, step: Chosen, plan: Callable[[Stop], None]) -> None:
        with self._waiting.lock:
            stop = self._chosen(command, step, *_BEFORE)
            self._stepping.halt(is_step=True)
            plan(stop)
            self._release(stop, Decision("go"))
        self._changed()

    def stop(self) -> None:
        """Cancel the chain, wherever it is."""
        if self.ending is not None:
            raise self._refusal("stop()")
        if self.call is not None:
            self.call.cancel()
            return
        self._is_stopping = True  # nobody holds its task: the next boundary ends it
        for stop in self.paused:
            stop.cancel()

    def call_ended(self) -> None:
        """Take note that the call is over, maybe before its first step."""
        if self.ending is None:
            self._over("stopped")

    # -- mending -------------------------------------------------------------------------------

    def retry(
        self,
        step: Chosen = None,
        *,
        func: Callable[..., Any] | None = None,
        lm: Any = None,
        inputs: Mapping[str, Any] | str | None = None,
        at: int | str | None = None,
        fresh: bool = False,
    ) -> str:
        """Run a step again that has failed or ended, as the notebook defines it now.

        Args:
            step: The step.
            func: What to run instead, where it cannot be looked up or a better one is at hand.
            lm: Another LM, for a step of kind ``"lm"`` or ``"predict"``.
            inputs: Inputs to replace, by name.
            at: Run the step around it of this id or name instead: the error goes up to it. What
                LMs and tools gave inside it before is served again for the same requests.
            fresh: Serve nothing; tools then have their side effects again.

        Returns:
            What a person should know, such as that a function could not be looked up; else "".

        Raises:
            DebugError: No step can be retried now, or what is given does not fit; nothing was
                changed.
        """
        again = Again(func, lm, mapping_of(inputs or {}), is_fresh=fresh)
        with self._waiting.lock:
            stop = self._chosen("retry()", step, "failed", "after")
            if at is None or at in (stop.span.id, stop.span.name):
                self._release(stop, self._prepared(stop, again))
            else:
                self._retries[self._above(stop, at).id] = again
                self._release(stop, Decision("raise"))
        self._changed()
        return again.note

    def _prepared(self, stop: Stop, again: Again) -> Decision:
        span = stop.span
        fn = self._renewed(stop, again)
        if again.inputs:
            self._set_inputs(span, checked_inputs(span, fn, again.inputs))
        if again.is_fresh:
            self._kept.withdraw(span)
        else:
            self._kept.offer(span)
        return Decision("retry", fn=fn)

    def _renewed(self, stop: Stop, again: Again) -> Callable[..., Any] | None:
        """Return the function to run."""
        kind = stop.span.kind
        if again.lm is not None and kind not in ("lm", "predict"):
            raise DebugError(
                f"lm= is for steps of kind 'lm' or 'predict', not for {stop.span!r}.",
                hint='Name the predictor: session.retry(at="Predict", lm=...).',
            )
        if again.func is not None:
            return redefined.replaced(stop, again.func)
        if again.lm is not None and kind == "lm":
            return redefined.of_other_subject(stop, again.lm)
        if again.lm is not None:
            again.inputs["lm"] = again.lm
        fn, again.note = redefined.latest(stop)
        return fn

    def _above(self, stop: Stop, at: int | str) -> Span:
        """Return the step around a failed one that is to run again."""
        above = next((s for s in stop.span.ancestors() if at in (s.id, s.name)), None)
        if above is None or stop.place != "failed":
            names = [f"{s.name!r} ({s.id})" for s in stop.span.ancestors()]
            raise DebugError(
                f"There is no step {at!r} around {stop.span!r} that can fail with it.",
                hint=f"Around it are {', '.join(names) or 'none'}.",
            )
        return above

    def repeats(self, step: Chosen = None, *, at: int | str | None = None) -> dict[str, list[str]]:
        """Tell, before a retry, what of a step will run again and what is served.

        Args:
            step: A step that waits.
            at: The step around it that would be retried.

        Returns:
            Names of steps: ``"served"`` from what they gave before; ``"again"``: the step itself.
        """
        stop = self._chosen("repeats()", step, "failed", "after")
        chain = [stop.span, *stop.span.ancestors()]
        target = next((s for s in chain if at is None or at in (s.id, s.name)), stop.span)
        served = [f"{s.kind} {s.name}" for s in self._kept.below(target)]
        again = [f"{s.kind} {s.name}" for s in chain[: chain.index(target) + 1]]
        return {"served": served, "again": again}

    def skip(self, output: Any, step: Chosen = None) -> None:
        """End a step with this output; it does not run (again).

        Raises:
            DebugError: No step can be skipped now, or the output does not fit it.
        """
        with self._waiting.lock:
            stop = self._chosen("skip()", step, "before", "failed")
            value = checked_output(stop.span, output)
            if stop.place == "before":
                stop.span.annotate(skipped=True)
            self._release(stop, Decision("skip", value=value))
        self._changed()

    def raise_(self, step: Chosen = None) -> None:
        """Let the error of a step go, as it would have without a debugger."""
        with self._waiting.lock:
            stop = self._chosen("raise_()", step, "failed")
            self._release(stop, Decision("raise"))
        self._changed()

    # -- looking and editing -------------------------------------------------------------------

    @property
    def inputs(self) -> Inputs:
        """Inputs of the step that waits longest; set one to change it, checked first."""
        return Inputs(self._chosen("inputs", None), lambda stop, new: self.edit(stop, inputs=new))

    @property
    def output(self) -> Any:
        """Output of the step that waits longest after it has run."""
        return self._chosen("output", None, "after").span.output

    @output.setter
    def output(self, value: Any) -> None:
        self.edit(output=value)

    @property
    def error(self) -> Exception | None:
        """Error at which a branch waits; None where none does."""
        return next((stop.error for stop in self.paused if stop.error is not None), None)

    def edit(
        self, step: Chosen = None, *, inputs: Mapping[str, Any] | str = _UNSET, output: Any = _UNSET
    ) -> None:
        """Change what a step that waits is given, or what it has returned.

        Args:
            step: The step.
            inputs: New values by name, the others stay; or JSON text of them.
            output: The new output.

        Raises:
            DebugError: It does not fit, or cannot be set now; nothing was changed.
        """
        with self._waiting.lock:
            if inputs is not _UNSET:
                stop = self._chosen("edit(inputs=)", step, "before", "failed")
                given = mapping_of(inputs)
                self._set_inputs(stop.span, checked_inputs(stop.span, stop.fn, given))
            if output is not _UNSET:
                stop = self._chosen("edit(output=)", step, "after")
                stop.span.output = checked_output(stop.span, output)
                stop.span.annotate(edited_output=True)
        self._changed()

    def _set_inputs(self, span: Span, inputs: dict[str, Any] | None) -> None:
        if inputs is None:
            return
        span.inputs = inputs
        span.annotate(edited_inputs=True)
        if span.record is not None:
            span.record.take_inputs(span)

    # -- waiting -------------------------------------------------------------------------------

    async def wait_paused(self, timeout_s: float | None = None) -> list[Stop]:
        """Wait until the chain is paused or has ended.

        Args:
            timeout_s: How long to wait, in seconds.

        Returns:
            The branches that wait, oldest first; none where the chain has ended.

        Raises:
            TimeoutError: Neither came in that time.
        """
        loop = asyncio.get_running_loop()
        changed = asyncio.Event()
        end = self.listen(lambda: loop.call_soon_threadsafe(changed.set))
        try:
            async with asyncio.timeout(timeout_s):
                while self.state != "paused" and self.ending is None:
                    await changed.wait()
                    changed.clear()
        finally:
            end()
        return self.paused

    def __await__(self) -> Generator[Any, Any, T]:
        return self._handle("await").__await__()

    def result(self, timeout_s: float | None = None) -> T:
        """Wait for the chain's result from synchronous code; see `Call.result`."""
        __tracebackhide__ = True
        return self._handle("result()").result(timeout_s)

    def _handle(self, command: str) -> Call[T]:
        if self.call is None:
            raise DebugError(f"{command} needs a call, and this chain has no handle.")
        return self.call

    def detach(self) -> int:
        """Let the cell end that waits for this chain; the chain stays where it is.

        All chains that the cell waits for go on in the background. The cell ends with
        `nbtool.Detached`; what stands behind the wait does not run.

        Returns:
            How many waits were ended.

        Raises:
            DebugError: Nobody waits.
        """
        released = detaching.release(self.call, str(self))
        if not released:
            raise DebugError(
                "detach() found no cell that waits for this chain.",
                hint="It runs in the background already.",
            )
        return released

    # -- refusing ------------------------------------------------------------------------------

    def _chosen(self, command: str, step: Chosen, *places: Place) -> Stop:
        """Return the branch that a command is for."""
        stops = self.paused
        if isinstance(step, Stop):
            stops = [stop for stop in stops if stop is step]
        elif step is not None:
            stops = [stop for stop in stops if stop.span.id == step]
        for stop in stops:
            if not places or stop.place in places:
                return stop
        raise self._refusal(command, f" for {step!r}" if step is not None else "")

    def _refusal(self, command: str, of: str = "") -> DebugError:
        where = ", ".join(f"{s.place} {s.span.name!r} ({s.span.id})" for s in self.paused)
        waits = f"; it waits {where}" if where else ""
        return DebugError(
            f"{command}{of} means nothing now: the chain is {self.state}{waits}.",
            hint=_HINTS.get("failed" if self.error is not None else self.state, "Look first."),
        )

    def __str__(self) -> str:
        root = self._root
        name = self.call.name if self.call is not None else root.name if root else "a chain"
        where = ", ".join(f"{stop.span.name} ({stop.place})" for stop in self.paused)
        return f"{name} is {self.state}{f' at {where}' if where else ''}"

    def __repr__(self) -> str:
        return f"<Session {self}>"


_HINTS = {
    "failed": "At an error: retry(), skip(output) or raise_().",
    "idle": "Await the session first.",
    "running": "Call pause() first, and wait_paused().",
    "pausing": "It waits for a step in flight to end.",
    "stepping": "It waits for a step in flight to end.",
    "paused": "See session.paused.",
    "finished": "The chain has ended.",
    "stopped": "The chain has ended.",
}
