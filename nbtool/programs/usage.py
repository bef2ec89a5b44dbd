"""Usage: how many tokens the requests below a step took, on every level.

One instrument on the boundary adds the tokens of each request to all steps that it is part of, so
that it does not matter which task or thread made the request. A cached answer costs nothing, and
neither does one that several identical calls share, but for the first of them.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import defaultdict
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool.configuration import context, settings, value_of
from nbtool.programs.prediction import Prediction
from nbtool.tracing.boundary import install

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from nbtool.tracing.span import Span

Counts: TypeAlias = "dict[str, Any]"
_MODULES = frozenset({"module", "predict"})
_log = logging.getLogger("nbtool")


class UsageTracker:
    """Add up what requests took, model by model.

    Args:
        parent: A tracker that gets whatever this one gets.

    Attributes:
        usage_data: What each request took, by model, in the order in which they ended.

    Source:
        Names as DSPy's class of that name.
    """

    def __init__(self, parent: UsageTracker | None = None) -> None:
        self.usage_data: defaultdict[str, list[Counts]] = defaultdict(list)
        self._parent = parent

    def add_usage(self, lm: str, usage_entry: Mapping[str, Any]) -> None:
        """Take up one request.

        Args:
            lm: Name of the model.
            usage_entry: Counts as the provider names them; an empty one is left out.
        """
        if usage_entry:
            self.usage_data[lm].append(dict(usage_entry))
        if self._parent is not None:
            self._parent.add_usage(lm, usage_entry)

    def get_total_tokens(self) -> dict[str, Counts]:
        """Return the sums so far, by model: counts, and details of counts, by name."""
        totals: dict[str, Counts] = {}
        for model, entries in list(self.usage_data.items()):
            for entry in list(entries):
                totals[model] = _sum(totals.get(model, {}), entry)
        return totals

    def __repr__(self) -> str:
        return f"<UsageTracker {self.get_total_tokens()}>"


@contextlib.contextmanager
def track_usage() -> Generator[UsageTracker]:
    """Add up the tokens of all requests that are made inside the ``with`` block.

    Tasks and threads that inherit a `context` are included. Blocks nest: what an inner one
    counts, the outer ones count too.

    Yields:
        The tracker; ``get_total_tokens()`` gives the sums by model.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> qa = nbtool.Predict("question -> answer")
        >>> with nbtool.track_usage() as tracker:
        ...     prediction = qa(question="?", lm=DummyLM([{"answer": "Paris"}]))
        >>> tracker.get_total_tokens()["dummy"]["completion_tokens"]
        11

    Source:
        Name and shape of the sums as DSPy's function of that name.
    """
    tracker = UsageTracker(settings.usage_tracker)
    with context(usage_tracker=tracker):
        yield tracker


class _Meter:
    """Be the instrument that counts."""

    def __init__(self) -> None:
        self._below: dict[int, dict[str, Counts]] = {}  # of open steps, by their ids
        self._lock = threading.Lock()  # requests end in any thread

    def forget(self) -> None:
        """Begin anew in a forked child: a thread that is not there may have held the lock."""
        self._below.clear()
        self._lock = threading.Lock()

    def opened(self, span: Span) -> None:
        """Wait for the end."""

    def closed(self, span: Span) -> None:
        """Count a request for all steps around, or let a prediction know its sum."""
        if span.kind == "lm":
            self._count(span)
        elif span.kind in _MODULES:
            self._report(span)

    def _count(self, span: Span) -> None:
        model, counts = _spent(span)
        tracker = value_of("usage_tracker")
        if not counts:
            return
        if tracker is not None:
            try:
                tracker.add_usage(model, counts)
            except Exception as error:  # noqa: BLE001 - it may be a user's own
                _log.warning("The usage tracker %r failed: %r", tracker, error)
        if not value_of("track_usage"):
            return
        with self._lock:
            for step in span.ancestors():
                # What runs on behind a step that has ended is counted for the steps around it.
                if step.kind in _MODULES and step.end_s is None:
                    sums = self._below.setdefault(step.id, {})
                    sums[model] = _sum(sums.get(model, {}), counts)

    def _report(self, span: Span) -> None:
        sums: dict[str, Counts] = {}
        if self._below:  # whatever was counted for this step is there by now
            with self._lock:
                sums = self._below.pop(span.id, sums)
        if span.error is not None or not value_of("track_usage"):
            return
        prediction = _prediction_in(span.output)
        if prediction is not None:
            prediction.set_lm_usage(sums)
        elif not any(step.kind in _MODULES for step in span.ancestors()):
            _log.warning(
                "Failed to set LM usage: %s returned no Prediction. Return one to know its tokens, "
                "or write `with track_usage() as tracker:`.",
                span.name,
            )


def _spent(span: Span) -> tuple[str, Counts]:
    facts = span.attributes or {}
    if facts.get("cache_hit") or facts.get("shared"):
        return span.name, {}
    return str(facts.get("model") or span.name), span.usage or {}


def _prediction_in(output: Any) -> Prediction | None:
    # Optimizers let `forward` return the prediction together with its trace.
    if isinstance(output, tuple) and output:
        output = cast("tuple[Any, ...]", output)[0]
    return output if isinstance(output, Prediction) else None


def _sum(left: Counts, right: Mapping[str, Any]) -> Counts:
    """Add counts by name; of what is no count, the first value stays."""
    total = dict(left)
    for name, value in right.items():
        known = total.get(name)
        if isinstance(value, dict):
            inside = cast("Counts", known) if isinstance(known, dict) else {}
            total[name] = _sum(inside, cast("Counts", value))
        elif _is_count(known) and _is_count(value):
            total[name] = known + value
        elif known is None:
            total[name] = value
    return total


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


_meter = _Meter()
install(_meter)
if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_meter.forget)
