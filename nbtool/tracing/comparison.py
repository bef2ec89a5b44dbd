"""Two traces side by side: which steps changed, came or went; pure."""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nbtool.tracing.record import SpanRecord

Change = Literal["same", "changed", "added", "missing"]
SIGNS: dict[Change, str] = {"same": " ", "changed": "~", "added": "+", "missing": "-"}
"""What stands before a step."""
_SHOWN_CHARS = 100


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """Be one step of two traces.

    Attributes:
        change: ``"same"``; ``"changed"`` in what it was asked, returned or raised; ``"added"``
            where only the second trace has it; ``"missing"`` where only the first one has.
        depth: How deep it is nested; 0 for a root.
        before: The step of the first trace.
        after: The step of the second one.
        what: What changed of it: names of ``inputs``, ``output`` and ``error``.
    """

    change: Change
    depth: int
    before: SpanRecord | None
    after: SpanRecord | None
    what: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Kind and name of the step."""
        record = self.after or self.before
        return f"{record.kind} {record.name}" if record is not None else ""


class Difference:
    """Be what `Trace.diff` gives: the steps of two traces, aligned.

    Steps stand for each other when they are of one kind and name below steps that do, first
    those that were asked the same thing, then in their order.

    Args:
        before: Steps of the first trace, in the order of opening.
        after: Steps of the second one.

    Attributes:
        rows: All steps of both, in the order of the second trace.
    """

    def __init__(self, before: Sequence[SpanRecord], after: Sequence[SpanRecord]) -> None:
        self._before, self._after = _children(before), _children(after)
        self.rows: list[Row] = list(self._level(None, None, 0))

    @property
    def changes(self) -> list[Row]:
        """The steps that are not the same."""
        return [row for row in self.rows if row.change != "same"]

    def _level(self, before: int | None, after: int | None, depth: int) -> Iterator[Row]:
        old = self._before.get(before, ()) if before is not None or depth == 0 else ()
        new = self._after.get(after, ()) if after is not None or depth == 0 else ()
        for one, other in _pairs(old, new):
            yield _row(one, other, depth)
            ids = (one.id if one else None, other.id if other else None)
            yield from self._level(*ids, depth + 1)

    def __bool__(self) -> bool:
        return bool(self.changes)

    def __str__(self) -> str:
        return "\n".join(line for row in self.rows for line in _lines(row))

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str | None:
        return _drawings[0](self) if _drawings else None


_drawings: list[Callable[[Difference], str]] = []


def draw_with(drawing: Callable[[Difference], str]) -> None:
    """Let views say how two traces look as HTML; this layer knows none."""
    _drawings[:] = [drawing]


def _children(records: Sequence[SpanRecord]) -> dict[int | None, list[SpanRecord]]:
    known = {record.id for record in records}
    found: dict[int | None, list[SpanRecord]] = {}
    for record in records:
        above = record.parent_id if record.parent_id in known else None
        found.setdefault(above, []).append(record)
    return found


def _pairs(
    old: Sequence[SpanRecord], new: Sequence[SpanRecord]
) -> Iterator[tuple[SpanRecord | None, SpanRecord | None]]:
    partners: dict[int, SpanRecord] = {}
    for key_of in (_exact_key, _loose_key):
        taken = {partner.id for partner in partners.values()}
        free: dict[str, deque[SpanRecord]] = {}
        for record in old:
            if record.id not in taken:
                free.setdefault(key_of(record), deque()).append(record)
        for record in new:
            alike = free.get(key_of(record)) if record.id not in partners else None
            if alike:
                partners[record.id] = alike.popleft()
    for record in new:
        yield partners.get(record.id), record
    taken = {partner.id for partner in partners.values()}
    for record in old:
        if record.id not in taken:
            yield record, None


def _exact_key(record: SpanRecord) -> str:
    asked = [record.kind, record.name, record.inputs]
    return json.dumps(asked, sort_keys=True, default=str)


def _loose_key(record: SpanRecord) -> str:
    return record.kind if record.kind == "lm" else f"{record.kind} {record.name}"


def _row(old: SpanRecord | None, new: SpanRecord | None, depth: int) -> Row:
    if old is None or new is None:
        return Row("added" if old is None else "missing", depth, old, new)
    changed = [n for n in ("name", "inputs", "output") if getattr(old, n) != getattr(new, n)]
    if said(old) != said(new):
        changed.append("error")
    return Row("changed" if changed else "same", depth, old, new, tuple(changed))


def said(record: SpanRecord) -> Any:
    """Return what a step raised, type and text; else its status."""
    error = record.error
    return (error.type, error.message) if error is not None else record.status


def _lines(row: Row) -> Iterator[str]:
    indent = "  " * row.depth
    yield f"{SIGNS[row.change]} {indent}{row.name}"
    if row.before is None or row.after is None:
        return
    for what in row.what:
        if what == "error":
            old, new = said(row.before), said(row.after)
        else:
            old, new = getattr(row.before, what), getattr(row.after, what)
        yield f"    {indent}{what}: {_short(old)} → {_short(new)}"


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
