"""`Recording`: which recorded step a step of a new run stands for."""

from __future__ import annotations

import dataclasses
import difflib
import json
from typing import TYPE_CHECKING, Any

from nbtool.tracing.fingerprints import fingerprint, request_of, salt_of
from nbtool.tracing.scrub import scrub
from nbtool.tracing.snapshot import Meter, plain, snapshot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Span

_SHOWN_LINES = 40
_LINE_CHARS = 300


@dataclasses.dataclass(slots=True)
class Match:
    """Say which recorded step a step stands for.

    Attributes:
        record: The step; None where there is none.
        asked: Inputs of the step for which the recorded one was asked the same thing; None where
            it was not.
    """

    record: SpanRecord | None
    asked: dict[str, Any] | None = None


class Recording:
    """Find recorded steps, each of them once.

    Under the step that the parent stands for, it is first an unused one that was asked the same
    thing, so that the order in which branches of a ``gather`` arrive does not matter; else the
    one that opened as the same step of its kind and name.

    Args:
        records: The recorded steps, in the order of opening.
    """

    def __init__(self, records: Sequence[SpanRecord]) -> None:
        known = {record.id for record in records}
        self.roots = [record for record in records if record.parent_id not in known]
        self._children: dict[int | None, list[SpanRecord]] = {None: self.roots}
        for record in records:
            if record.parent_id in known:
                self._children.setdefault(record.parent_id, []).append(record)
        self._exact: dict[int | None, dict[str, list[SpanRecord]]] = {}
        self._salts = {salt_of(record.mark) for record in records}
        self._ordinals: dict[tuple[int | None, str, str], int] = {}

    def take(self, parent_id: int | None, span: Span) -> Match:
        """Return the recorded step that a step which opens stands for.

        Args:
            parent_id: Id of the recorded step that its parent stands for; None for a root.
            span: The step.
        """
        ordinal_of = (parent_id, span.kind, "" if span.kind == "lm" else span.name)
        ordinal = self._ordinals[ordinal_of] = self._ordinals.get(ordinal_of, -1) + 1
        unused = self._by_mark(parent_id)
        for mark in self._marks(parent_id, span):
            if unused.get(mark):
                return Match(unused[mark].pop(0), span.inputs)
        alike = [
            record
            for record in self._children.get(parent_id, ())
            if record.kind == span.kind and (span.kind == "lm" or record.name == span.name)
        ]
        return Match(alike[ordinal] if ordinal < len(alike) else None)

    def is_same(self, match: Match, span: Span) -> bool:
        """Tell whether a step is asked now, after edits, what the recorded one was asked."""
        if match.record is None or match.asked is span.inputs:
            return match.record is not None
        request = request_of(span.kind, span.name, span.inputs)
        return match.record.mark == fingerprint(request, salt_of(match.record.mark))

    def _by_mark(self, parent_id: int | None) -> dict[str, list[SpanRecord]]:
        found = self._exact.get(parent_id)
        if found is None:
            found = self._exact[parent_id] = {}
            for record in self._children.get(parent_id, ()):
                found.setdefault(record.mark, []).append(record)
        return found

    def _marks(self, parent_id: int | None, span: Span) -> set[str]:
        if not self._by_mark(parent_id):
            return set()
        request = request_of(span.kind, span.name, span.inputs)
        return {fingerprint(request, salt) for salt in self._salts}


def difference(record: SpanRecord, span: Span, secrets: tuple[str, ...]) -> str:
    """Show how a step's request differs from the recorded one, without secrets."""
    now = scrub(plain(snapshot(span.inputs, Meter())), secrets=secrets)
    lines = difflib.unified_diff(
        _lines(record.name, record.inputs), _lines(span.name, now), "recorded", "now", lineterm=""
    )
    shown = [line[:_LINE_CHARS] for line in lines]
    more = [f"… {len(shown) - _SHOWN_LINES} more lines"] if len(shown) > _SHOWN_LINES else []
    text = "\n".join([*shown[:_SHOWN_LINES], *more])
    if not text and record.was_scrubbed:
        return "(only in something that was scrubbed from the recording)"
    return text or "(only in something that is not shown, such as the kind of a number)"


def _lines(name: str, inputs: Any) -> list[str]:
    whole = json.dumps({"name": name, **inputs}, indent=1, ensure_ascii=False, default=str)
    # Texts of several lines are compared line by line.
    return [part for line in whole.split("\n") for part in line.split("\\n")]
