"""From records to rows: what every view of a trace shows. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Kind, Status

RowKind: TypeAlias = "Kind | Literal['group']"

GROUP_FROM = 20
"""From how many siblings of one kind and name on they are a group."""

# How many of a group's steps are shown: those that failed or run, and the first ones.
_TELLING_IN_GROUP = 10
_FIRST_IN_GROUP = 3
_PLUMBING = frozenset({"adapter"})
NAME_CHARS = 256
_SUMMARY_CHARS = 2_000
_MAX_DEPTH = 32
# Control codes with ESC and C1, soft hyphen, zero-width and bidi characters, lone surrogates, tags.
_INVISIBLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
)


@dataclasses.dataclass(slots=True)  # frozen ones take three times as long to make
class Row:
    """One step as a view shows it; every text is one line without control characters.

    Attributes:
        id: The step's id; negative for a group.
        parent_id: Id of the row that it is shown below; None at the top.
        kind: What sort of step it is, or ``"group"``: many alike, in one row.
        name: Whose step it is, at most 256 characters.
        status: How it stands; of a group, how it stands worst.
        start_s: Seconds since 1970.
        end_s: The same; None while it runs.
        given: Its inputs in short; of a group, how many there are and how they stand.
        gave: Its output, error, or the text that has arrived so far, in short.
        tokens: Tokens sent and received, for requests to an LM.
        cost_usd: Price of its own request; None where unknown.
        retries: How often the request was sent again.
        cached: Whether the answer came from the cache.
        shared: Whether the answer is that of an identical request at the same time.
    """

    id: int
    parent_id: int | None
    kind: RowKind
    name: str
    status: Status
    start_s: float
    end_s: float | None
    given: str
    gave: str
    tokens: tuple[int, int] | None = None
    cost_usd: float | None = None
    retries: int = 0
    cached: bool = False
    shared: bool = False

    def duration_s(self, now_s: float) -> float:
        """Return the seconds that it took, or has taken by now."""
        end_s = self.end_s if self.end_s is not None else now_s
        return max(0.0, end_s - self.start_s)


@dataclasses.dataclass(frozen=True, slots=True)
class Placed:
    """A row and how deep it is nested, from 0, at most 32."""

    row: Row
    depth: int


def is_plumbing(span: SpanRecord) -> bool:
    """Tell whether views hide a step unless they are asked for it."""
    return span.kind in _PLUMBING and span.status != "error"


def rows(
    spans: Sequence[SpanRecord],
    *,
    plumbing: bool = False,
    finished: dict[int, Row] | None = None,
) -> list[Placed]:
    """Turn records into rows: parents before children, siblings as they opened.

    Many siblings of one kind and name are a group: its row, below it those that failed or run,
    and the first ones.

    Args:
        spans: Records in the order of opening.
        plumbing: Whether to show the steps of adapters too; their children always show.
        finished: Rows of finished steps from the call before; filled for the next one, since
            they do not change any more and scrubbing costs.
    """
    children = _children(spans, plumbing)
    found: list[Placed] = []
    waiting = [(each, 0) for each in reversed(_siblings(children.get(None, [])))]
    while waiting:
        each, depth = waiting.pop()
        below: Sequence[SpanRecord | _Group]
        if isinstance(each, _Group):
            row, below = each.row, each.shown
        else:
            row, below = _kept_row(each, finished), _siblings(children.get(each.id, []))
        found.append(Placed(row, min(depth, _MAX_DEPTH)))
        waiting += [(child, depth + 1) for child in reversed(below)]
    return found


def _kept_row(span: SpanRecord, finished: dict[int, Row] | None) -> Row:
    row = finished.get(span.id) if finished is not None else None
    if row is None:
        row = row_of(span)
        if finished is not None and span.end_s is not None:
            finished[span.id] = row
    return row


def _children(spans: Sequence[SpanRecord], plumbing: bool) -> dict[int | None, list[SpanRecord]]:
    """Sort records by the step that they are shown below; what is hidden passes its own on."""
    known = {span.id: span for span in spans}
    children: dict[int | None, list[SpanRecord]] = {}
    for span in spans:
        if is_plumbing(span) and not plumbing:
            continue
        above = known.get(span.parent_id) if span.parent_id is not None else None
        seen: set[int] = set()
        while above is not None and is_plumbing(above) and not plumbing and above.id not in seen:
            seen.add(above.id)  # a damaged file may go in circles
            above = known.get(above.parent_id) if above.parent_id is not None else None
        children.setdefault(above.id if above is not None else None, []).append(span)
    return children


@dataclasses.dataclass(frozen=True, slots=True)
class _Group:
    row: Row
    shown: list[SpanRecord]


def _siblings(spans: list[SpanRecord]) -> list[SpanRecord | _Group]:
    """Put what is many of a kind into groups, each where its first step was."""
    if len(spans) < GROUP_FROM:
        return list(spans)
    alike: dict[tuple[str, str], list[SpanRecord]] = {}
    for span in spans:
        alike.setdefault((span.kind, span.name), []).append(span)
    found: list[SpanRecord | _Group] = []
    for span in spans:
        members = alike[span.kind, span.name]
        if len(members) < GROUP_FROM:
            found.append(span)
        elif members[0] is span:
            found.append(_Group(group_row(members), _shown_of(members)))
    return found


def _shown_of(members: list[SpanRecord]) -> list[SpanRecord]:
    telling = [span for span in members if span.status != "ok"][:_TELLING_IN_GROUP]
    first = [span for span in members if span.status == "ok"][:_FIRST_IN_GROUP]
    return sorted([*first, *telling], key=lambda span: span.id)


_NO_TOKENS = (0, 0)
_WORST_FIRST: tuple[Status, ...] = ("running", "error", "cancelled", "ok")


class Tally:
    """Add up many steps of one kind and name.

    Args:
        first: The first of them.
    """

    def __init__(self, first: SpanRecord) -> None:
        self._first = first
        self._counts: Counter[Status] = Counter()
        self._end_s = first.start_s
        self._tokens = (0, 0)
        self._cost_usd: float | None = None

    def opened(self) -> None:
        """Count one that runs."""
        self._counts["running"] += 1

    def ended(self, span: SpanRecord) -> None:
        """Count one that ran as what it has become."""
        self._counts["running"] -= 1
        self._counts[span.status] += 1
        self._end_s = max(self._end_s, span.end_s or 0.0)
        tokens = tokens_of(span)
        if tokens is not _NO_TOKENS:
            self._tokens = (self._tokens[0] + tokens[0], self._tokens[1] + tokens[1])
        if span.cost_usd is not None:
            self._cost_usd = (self._cost_usd or 0.0) + span.cost_usd

    def row(self) -> Row:
        """Return the row that stands for all of them."""
        counts, first = self._counts, self._first
        told = [f"{counts[status]:,} {status}" for status in _WORST_FIRST if counts[status]]
        return Row(
            id=-first.id,
            parent_id=first.parent_id,
            kind="group",
            name=one_line(f"{first.name} \N{MULTIPLICATION SIGN} {counts.total():,}", NAME_CHARS),
            status=next(status for status in _WORST_FIRST if counts[status]),
            start_s=first.start_s,
            end_s=None if counts["running"] else self._end_s,
            given=", ".join(told),
            gave="",
            tokens=self._tokens if any(self._tokens) else None,
            cost_usd=self._cost_usd,
        )


def group_row(members: Sequence[SpanRecord]) -> Row:
    """Make the row of many steps of one kind and name.

    Args:
        members: The steps, at least one, in the order of opening.
    """
    tally = Tally(members[0])
    for span in members:
        tally.opened()
        if span.end_s is not None:
            tally.ended(span)
    return tally.row()


def row_of(span: SpanRecord, chars: int = _SUMMARY_CHARS) -> Row:
    """Make the row of one step.

    Args:
        span: Its record.
        chars: How long what it was given, and gave, may be.
    """
    row = bare_row(span)
    row.given = one_line(_given(span, chars), chars)
    row.gave = one_line(_gave(span, chars), chars)
    return row


def bare_row(span: SpanRecord) -> Row:
    """Make the row of one step without what it was given and gave."""
    attributes, tokens = span.attributes, tokens_of(span)
    retries = attributes.get("retries")  # of anybody: users annotate too
    return Row(
        id=span.id,
        parent_id=span.parent_id,
        kind=span.kind,
        name=one_line(span.name, NAME_CHARS),
        status=span.status,
        start_s=span.start_s,
        end_s=span.end_s,
        given="",
        gave="",
        tokens=tokens if any(tokens) else None,
        cost_usd=span.cost_usd,
        retries=retries if isinstance(retries, int) else 0,
        cached=attributes.get("cache_hit") is True,
        shared=attributes.get("shared") is True,
    )


def tokens_of(span: SpanRecord) -> tuple[int, int]:
    """Return the tokens sent and received for a step."""
    usage = span.usage
    if not usage:  # as of all but requests to an LM
        return _NO_TOKENS
    return usage.get("prompt_tokens", 0), usage.get("completion_tokens", 0)


def _given(span: SpanRecord, chars: int) -> str:
    if span.kind == "lm":
        return brief(span.last_message(chars))
    return ", ".join(f"{name}={brief(value)}" for name, value in span.short_inputs(chars).items())


def _gave(span: SpanRecord, chars: int) -> str:
    if span.error is not None:
        return f"{span.error.type.rsplit('.', 1)[-1]}: {span.error.message}"
    if span.status == "running":
        return span.arrived
    output = span.short_output(chars)
    if span.kind == "lm" and isinstance(output, list) and output:
        first: Any = cast("list[Any]", output)[0]
        return brief(first)
    if isinstance(output, dict):
        fields = cast("dict[str, Any]", output).items()
        return ", ".join(f"{name}={brief(value)}" for name, value in fields)
    return "" if output is None else brief(output)


def brief(value: Any) -> str:
    """Write a JSON-like value in short."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, default=str)


def one_line(text: str, limit: int) -> str:
    """Make hostile text fit to be shown: one bounded line without control codes.

    Args:
        text: Of an LM, a tool, a document or an exception.
        limit: Most characters; what is cut off shows as an ellipsis.
    """
    if len(text) <= limit and text.isprintable() and "  " not in text and text == text.strip():
        return text  # what nearly every text is
    cut = text.lstrip()[: limit + 1]
    shown = _INVISIBLE.sub(_escaped, " ".join(cut.split()))  # which may be longer than `cut`
    return shown if max(len(cut), len(shown)) <= limit else f"{shown[: limit - 1]}…"


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "backslashreplace").decode("ascii")
