"""Traces as Chrome's trace viewer and Perfetto read them: time from left to right."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord

_US = 1_000_000  # of a second; the format counts microseconds


def to_chrome(spans: Sequence[SpanRecord]) -> dict[str, Any]:
    """Return a trace in the Trace Event Format, ready for JSON.

    Steps that ran at the same time stand in lanes of their own, for the viewer draws a step inside
    of another one only where it lies inside of it in time.

    Args:
        spans: Records in the order of opening; steps that run still have no length.

    Source:
        "Trace Event Format" of the Chromium project: complete events, ``ph: "X"``.
    """
    lanes = _lanes_of(spans)
    events = [
        {
            "ph": "X",
            "name": span.name,
            "cat": span.kind,
            "ts": round(span.start_s * _US),
            "dur": round(((span.end_s or span.start_s) - span.start_s) * _US),
            "pid": os.getpid(),
            "tid": lane,
            "args": {"inputs": span.inputs, "output": span.output, "error": span.error},
        }
        for span, lane in zip(spans, lanes, strict=True)
    ]
    return {"traceEvents": events, "displayTimeUnit": "ms"}


def write_chrome(spans: Sequence[SpanRecord], path: str | os.PathLike[str]) -> None:
    """Write a trace for Chrome's viewer; see `to_chrome`.

    Args:
        spans: Records in the order of opening.
        path: The file; open it at chrome://tracing or ui.perfetto.dev.
    """
    text = json.dumps(to_chrome(spans), ensure_ascii=False, default=str)
    Path(path).write_text(text, encoding="utf-8")


def _lanes_of(spans: Sequence[SpanRecord]) -> list[int]:
    """Give each step its parent's lane, or where another step is in it meanwhile, a free one."""
    lanes: dict[int, int] = {}
    taken_to: dict[
        tuple[int, int | None], float
    ] = {}  # by lane and the parent whose steps these are
    free_from: list[float] = []
    for span in spans:
        end_s = span.end_s if span.end_s is not None else float("inf")
        own = lanes.get(span.parent_id or -1)
        if own is None or taken_to.get((own, span.parent_id), 0.0) > span.start_s:
            own = next((n for n, s in enumerate(free_from) if s <= span.start_s), len(free_from))
            free_from[own : own + 1] = [end_s]
        taken_to[own, span.parent_id] = end_s
        free_from[own] = max(free_from[own], end_s)
        lanes[span.id] = own
    return [lanes[span.id] for span in spans]
