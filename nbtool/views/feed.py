"""From records to messages: what a page that shows a trace has to be told. Pure.

The page keeps rows and is told what changed. Messages are numbered; a page that has missed one, or
was reloaded, asks for all of it. ``static/trace.js`` is the other side of this protocol:

- a *delta* is ``{"t": "d", "from": n, "to": n + 1}`` with a buffer of JSON: ``rows`` that are new
  or changed (null where nothing changed, false where a value is gone), ``text`` that has arrived
  as ``[id, offset, text]``, ids that are ``gone``, ``totals``, ``ui``;
- steps in large groups come without values, which hardly anybody looks at; ``{"t": "want"}`` asks
  for them, as a page does when a group is opened or something is searched;
- a *snapshot* has the same with every row whole, and ``seq``.
"""

from __future__ import annotations

import itertools
from collections import deque
from typing import TYPE_CHECKING, Any

from nbtool.tracing.arriving import Arriving
from nbtool.views.groups import Group, Groups
from nbtool.views.model import row_of, tokens_of
from nbtool.views.wire import bare, change, encoded, wired

if TYPE_CHECKING:
    from nbtool.tracing.record import SpanRecord
    from nbtool.views.wire import WireRow

MAX_ROWS = 20_000
_CHARS = 160  # of what a step was given and gave; a click asks for the whole
_REFILLED = 400  # rows of a delta, once the values are wanted
_PLACES = range(2, 12)  # of a row, behind id and parent
_UNCHANGED = [None] * len(_PLACES)


class Feed:
    """Hold what a page knows, and say what it has to be told next.

    Steps are taken from any thread; all the rest is for one.

    Args:
        max_rows: How many rows are kept; then the oldest that have ended go.

    Attributes:
        seq: Number of the latest delta.
    """

    def __init__(self, max_rows: int = MAX_ROWS) -> None:
        self.seq = 0
        self._max_rows = max_rows
        self._rows: dict[int, WireRow] = {}
        self._noted: deque[SpanRecord] = deque()
        self._records: dict[int, SpanRecord] = {}
        self._arriving: dict[int, Arriving] = {}
        self._ended: deque[int] = deque()
        self._bare: dict[int, SpanRecord] = {}  # whose values a page has not got
        self._wants_all = False
        self._marks: dict[int, str] = {}
        self._remarked: set[int] = set()
        self._groups = Groups()
        self._sums = _Sums()

    def take(self, record: SpanRecord) -> None:
        """Note that a step was opened, or has ended; from any thread, and at no cost."""
        self._noted.append(record)

    @property
    def records(self) -> list[SpanRecord]:
        """The steps up to the latest delta, in the order of opening."""
        return sorted(self._records.values(), key=lambda record: record.id)

    def record(self, number: int) -> SpanRecord | None:
        """Return a step by its id; None where it is not known, or gone."""
        return self._records.get(number)

    def delta(self, ui: dict[str, Any] | None = None) -> tuple[dict[str, Any], bytes] | None:
        """Return the next message with its buffer; None where there is nothing to tell.

        Args:
            ui: What the page shows around the rows, where that has changed.
        """
        told: dict[str, Any] = {}
        if rows := self._changed_rows():
            told["rows"] = rows
            told["totals"] = self._sums.as_json()
        if text := self._arrived():
            told["text"] = text
        if gone := self._make_room():
            told["gone"] = gone
        if ui is not None:
            told["ui"] = ui
        if not told:
            return None
        self.seq += 1
        return {"t": "d", "from": self.seq - 1, "to": self.seq}, encoded(told)

    def want_all(self) -> None:
        """Tell values of steps in large groups too, from now on and of those before."""
        self._wants_all = True

    def mark(self, places: dict[int, str]) -> None:
        """Tell where steps wait for a person.

        Args:
            places: By ids of steps, as the page names them: before, after, failed, inside.
        """
        if places != self._marks:
            changed = dict(set(places.items()) ^ set(self._marks.items()))
            self._remarked.update(changed)
            self._marks = places

    @property
    def has_more(self) -> bool:
        """Whether values are wanted that the next delta has no room for."""
        return self._wants_all and bool(self._bare)

    @property
    def waits_for_text(self) -> bool:
        """Whether an answer is arriving, of which nobody else tells."""
        return bool(self._arriving)

    def snapshot(self, ui: dict[str, Any]) -> bytes:
        """Return all that a page has to know, up to the latest delta.

        Args:
            ui: What the page shows around the rows.
        """
        texts = [[number, 0, each.text] for number, each in self._arriving.items()]
        return encoded(
            {
                "seq": self.seq,
                "rows": list(self._rows.values()),
                "text": texts,
                "totals": self._sums.as_json(),
                "dropped": self._sums.dropped,
                "ui": ui,
            }
        )

    def _changed_rows(self) -> list[WireRow]:
        changed: dict[int, SpanRecord] = {}
        while self._noted:
            record = self._noted.popleft()
            changed[record.id] = self._records[record.id] = record
        told = [self._taken(record) for record in changed.values()]
        remarked = self._remarked & self._rows.keys() & self._records.keys() - changed.keys()
        told += [self._retold(self._records[number]) for number in remarked]
        self._remarked.clear()
        groups = [self._told(wired(tally.row())) for tally in self._groups.changed()]
        moved = [self._rows[number][:2] + _UNCHANGED for number in self._groups.moved()]
        return [*groups, *told, *moved, *self._refilled()]

    def _taken(self, record: SpanRecord) -> WireRow:
        """Take up what a step has become, and return what of it a page does not know yet."""
        is_new = record.id not in self._rows
        self._sums.take(record, is_new=is_new)
        group = self._groups.take(record, self._rows, is_new=is_new)
        told = self._told(self._wire_row(record, group, is_new=is_new))
        self._note_state(record)
        return told

    def _refilled(self) -> list[WireRow]:
        if not self._wants_all:
            return []
        records = list(itertools.islice(self._bare.values(), _REFILLED))
        return [self._retold(record) for record in records]

    def _retold(self, record: SpanRecord) -> WireRow:
        return self._told(self._wire_row(record, self._groups.of(record)))

    def _wire_row(
        self, record: SpanRecord, group: Group | None, *, is_new: bool = False
    ) -> WireRow:
        number = record.id
        is_news = is_new or number in self._bare
        if group is not None and is_news and not self._wants_all and group.hides_values_of(record):
            self._bare[number] = record
            row = bare(record, group.name)
        else:
            self._bare.pop(number, None)
            row = wired(row_of(record, _CHARS))
        if group is not None:
            row[1] = group.number
        if number in self._marks:
            row[-1] = {**row[-1], "paused": self._marks[number]}
        return row

    def _told(self, row: WireRow) -> WireRow:
        """Keep a row, and return what of it a page does not know yet."""
        before = self._rows.get(row[0])
        self._rows[row[0]] = row
        if before is None:
            return row
        return row[:2] + [change(before[place], row[place]) for place in _PLACES]

    def _note_state(self, record: SpanRecord) -> None:
        if record.end_s is not None:
            self._arriving.pop(record.id, None)
            self._ended.append(record.id)
        elif record.kind == "lm" and record.id not in self._arriving:
            self._arriving[record.id] = Arriving(record)

    def _arrived(self) -> list[list[Any]]:
        found: list[list[Any]] = []
        for number, arriving in self._arriving.items():
            offset = len(arriving.text)
            new = arriving.take()
            if new is None:  # a secret was found late: the page throws away what it has
                found.append([number, 0, arriving.text])
            elif new:
                found.append([number, offset, new])
        return found

    def _make_room(self) -> list[int]:
        gone: list[int] = []
        while len(self._rows) > self._max_rows and self._ended:
            oldest = self._ended.popleft()
            record = self._records.pop(oldest, None)
            if record is None or self._rows.pop(oldest, None) is None:
                continue
            self._sums.forget(record)
            self._bare.pop(oldest, None)
            gone.append(oldest)
            group = self._groups.forget(record)
            if group is not None and self._rows.pop(group, None) is not None:
                gone.append(group)
        return gone


class _Sums:
    """Add up what stands in the last line."""

    def __init__(self) -> None:
        self.dropped = 0
        self._steps = self._lm_calls = self._running = self._cached = self._errors = 0
        self._tokens = [0, 0]
        self._cost_usd: float | None = None
        self._lm_s = 0.0
        self._span_s: tuple[float, float] | None = None  # of the first start and the last end
        self._failed_below: set[int | None] = set()

    def take(self, record: SpanRecord, *, is_new: bool) -> None:
        if is_new:
            self._steps += 1
            self._running += 1
            self._lm_calls += record.kind == "lm"
        if record.end_s is None:
            self._stretch(record.start_s, record.start_s)
            return
        self._running -= 1
        self._stretch(record.start_s, record.end_s)
        if record.status == "error":
            self._errors += record.id not in self._failed_below
            self._failed_below.add(record.parent_id)
        if record.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + record.cost_usd
        if record.kind == "lm":
            sent, received = tokens_of(record)
            self._tokens = [self._tokens[0] + sent, self._tokens[1] + received]
            self._cached += record.attributes.get("cache_hit") is True
            self._lm_s += record.end_s - record.start_s

    def forget(self, record: SpanRecord) -> None:
        """Count a step as gone; what it added stays."""
        self.dropped += 1
        self._failed_below.discard(record.id)

    def _stretch(self, start_s: float, end_s: float) -> None:
        first, last = self._span_s or (start_s, end_s)
        self._span_s = min(first, start_s), max(last, end_s)

    def as_json(self) -> dict[str, Any]:
        first, last = self._span_s or (0.0, 0.0)
        return {
            "steps": self._steps,
            "lm_calls": self._lm_calls,
            "tokens": self._tokens,
            "cost_usd": self._cost_usd,
            "cached": self._cached,
            "errors": self._errors,
            "wall_s": last - first,
            "lm_s": self._lm_s,
            "running": self._running,
            "dropped": self.dropped,
        }
