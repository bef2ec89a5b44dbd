"""`Span`: one step of a call while it happens, and `Run`: what the spans of one call share."""

from __future__ import annotations

import itertools
import logging
import time
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtool.tracing.boundary import Gate, Instrument
    from nbtool.tracing.record import SpanRecord

Kind = Literal["module", "predict", "lm", "tool", "adapter", "function"]
"""What a step is: a user's module, a predictor, a request to an LM, a tool call, one direction
of an adapter, or a function that a user decorated."""

Status = Literal["running", "ok", "error", "cancelled"]

_next_id = itertools.count(1).__next__

_log = logging.getLogger("nbtool")

# Spans are timed by the monotonic clock; this anchors them in calendar time.
_EPOCH_S = time.time() - time.perf_counter()


def unix_time_s(perf_counter_s: float) -> float:
    """Turn a reading of `time.perf_counter` into seconds since 1970."""
    return _EPOCH_S + perf_counter_s


class Listener(Protocol):
    """Hear what an LM streams, piece by piece.

    An `Instrument` that has this method does. It is called in the middle of the watched program,
    as an instrument is; one that raises is logged and hears no more.
    """

    def arrived(self, span: Span, text: str) -> None:
        """Take note of the next piece of a step's answer, the last of ``span.arrived``."""
        ...


class Run:
    """Hold what all spans of one root call share, and what may change while it runs.

    It is made when the outermost step opens, and every task and thread below inherits it through
    the current span. So a watcher can be attached to a chain that already runs: a ContextVar set
    later would never reach its tasks.

    Args:
        instruments: Watchers of this call, beside the process-wide ones.

    Attributes:
        gate: The debugger of this call, where there is one.
        listeners: Those of the instruments that hear each piece of an answer.
        wants_tokens: Somebody looks at answers while they arrive, so LMs shall stream.
    """

    __slots__ = ("__weakref__", "gate", "instruments", "listeners", "wants_tokens")

    def __init__(self, instruments: tuple[Instrument, ...] = ()) -> None:
        self.instruments: tuple[Instrument, ...] = ()
        self.listeners: tuple[Listener, ...] = ()
        self.gate: Gate | None = None
        self.wants_tokens = False
        for instrument in instruments:
            self.attach(instrument)

    def attach(self, instrument: Instrument) -> None:
        """Let an instrument watch this call from now on, also where it runs already."""
        if instrument not in self.instruments:
            self.instruments = (*self.instruments, instrument)
            self.wants_tokens = self.wants_tokens or getattr(instrument, "wants_tokens", False)
            if callable(getattr(instrument, "arrived", None)):
                self.listeners = (*self.listeners, cast("Listener", instrument))

    def detach(self, instrument: object) -> None:
        """Let an instrument watch no more; nothing happens where it does not."""
        self.instruments = tuple(i for i in self.instruments if i is not instrument)
        self.listeners = tuple(each for each in self.listeners if each is not instrument)

    def tell_arrived(self, span: Span, text: str) -> None:
        """Let the listeners hear a piece of an answer."""
        for listener in self.listeners:
            try:
                listener.arrived(span, text)
            except Exception:  # noqa: BLE001 - a watcher must never break what it watches
                _log.exception("%r failed and hears no more.", type(listener).__name__)
                self.detach(listener)


class Span:
    """Be one step of a call: what went in and came out, when, inside which other.

    Instruments see the live object, raw values included; whatever leaves the process goes
    through `SpanRecord`, which scrubs.

    Attributes:
        id: Unique in this process, in the order of opening.
        parent: The step that this one is part of; None for a root.
        run: Shared by all spans of the root call.
        kind: What sort of step it is.
        name: Whose step it is, e.g. a class or tool name.
        subject: The object whose step it is: a module, LM, tool or adapter; None for functions.
        inputs: Arguments by name.
        start_s: `time.perf_counter` at opening.
        end_s: The same at closing; None while it runs.
        output: What the step returned.
        error: What the step raised.
        usage: Token counts as the provider names them, e.g. ``prompt_tokens``, and its details.
        cost_usd: Price of this step's own request; None where unknown.
        attributes: Further facts, JSON-like, e.g. ``{"model": "openai/gpt-4o-mini"}``.
        arrived: Text of the answer so far, in pieces, while an LM streams.
        record: The recorder's entry for this span, shared by all recorders.
    """

    __slots__ = (
        "arrived", "attributes", "cost_usd", "end_s", "error", "id", "inputs", "kind", "name",
        "output", "parent", "record", "run", "start_s", "subject", "usage",
    )  # fmt: skip

    def __init__(
        self,
        run: Run,
        parent: Span | None,
        kind: Kind,
        name: str,
        inputs: dict[str, Any],
        subject: object = None,
    ) -> None:
        self.id = _next_id()
        self.run = run
        self.parent = parent
        self.kind: Kind = kind
        self.name = name
        self.subject = subject
        self.inputs = inputs
        self.start_s = time.perf_counter()
        self.end_s: float | None = None
        self.output: Any = None
        self.error: BaseException | None = None
        self.usage: dict[str, Any] | None = None
        self.cost_usd: float | None = None
        self.attributes: dict[str, Any] | None = None
        self.arrived: list[str] | None = None
        self.record: SpanRecord | None = None

    def ancestors(self) -> Iterator[Span]:
        """Give the steps that this one is part of, the nearest first."""
        above = self.parent
        while above is not None:
            yield above
            above = above.parent

    def annotate(self, **attributes: Any) -> None:
        """Add facts to the step, JSON-like values by name."""
        self.attributes = {**(self.attributes or {}), **attributes}

    def arrive(self, text: str) -> None:
        """Take up the next piece of an answer that an LM streams."""
        if self.arrived is None:
            self.arrived = []
            if self.record is not None:
                self.record.show_arriving(self.arrived)
        self.arrived.append(text)
        if self.run.listeners:
            self.run.tell_arrived(self, text)

    def __repr__(self) -> str:
        state = "running" if self.end_s is None else f"{self.end_s - self.start_s:.3f} s"
        return f"<Span {self.id} {self.kind} {self.name!r} {state}>"
