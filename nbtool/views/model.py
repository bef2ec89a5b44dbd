"""From records to rows: what every view of a trace shows. Pure."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Kind, Status

_PLUMBING = frozenset({"adapter"})
_NAME_CHARS = 256
_SUMMARY_CHARS = 2_000
_MAX_DEPTH = 32
# Control codes with ESC and C1, soft hyphen, zero-width and bidi characters, lone surrogates, tags.
_INVISIBLE = re.compile(
    "[\\x00-\\x1f\\x7f-\\x9f\\xad\\u061c\\u180e\\u200b-\\u200f\\u2028-\\u202e\\u2060-\\u206f"
    "\\ud800-\\udfff\\ufeff\\ufff9-\\ufffb\\U000e0000-\\U000e007f]"
)


@dataclasses.dataclass(frozen=True, slots=True)
class Row:
    """One step as a view shows it; every text is one line without control characters.

    Attributes:
        id: The step's id.
        depth: How deep it is nested, from 0, at most 32.
        kind: What sort of step it is.
        name: Whose step it is, at most 256 characters.
        status: How it stands.
        duration_s: Seconds that it took, or has taken so far.
        given: Its inputs in short.
        gave: Its output, error, or the text that has arrived so far, in short.
        tokens: Tokens sent and received, for requests to an LM.
        cost_usd: Price of its own request; None where unknown.
        retries: How often the request was sent again.
    """

    id: int
    depth: int
    kind: Kind
    name: str
    status: Status
    duration_s: float
    given: str
    gave: str
    tokens: tuple[int, int] | None
    cost_usd: float | None
    retries: int


def rows(
    spans: Sequence[SpanRecord],
    *,
    now_s: float,
    plumbing: bool = False,
    finished: dict[int, Row] | None = None,
) -> list[Row]:
    """Turn records into rows: parents before children, siblings as they opened.

    Args:
        spans: Records in the order of opening.
        now_s: The present, in seconds since 1970, for steps that run.
        plumbing: Whether to show the steps of adapters too; their children always show.
        finished: Rows of finished steps from the call before; filled for the next one, since
            they do not change any more and scrubbing costs.
    """
    if finished is None:
        finished = {}
    known = {span.id for span in spans}
    children: dict[int | None, list[SpanRecord]] = {}
    for span in spans:
        parent = span.parent_id if span.parent_id in known else None
        children.setdefault(parent, []).append(span)
    found: list[Row] = []
    waiting = [(span, 0) for span in reversed(children.get(None, []))]
    while waiting:
        span, depth = waiting.pop()
        is_hidden = span.kind in _PLUMBING and not plumbing and span.status != "error"
        if not is_hidden:
            row = finished.get(span.id) or _row(span, depth, now_s)
            if span.end_s is not None:
                finished[span.id] = row
            found.append(row)
        below = depth if is_hidden else depth + 1
        waiting += [(child, below) for child in reversed(children.get(span.id, []))]
    return found


def _row(span: SpanRecord, depth: int, now_s: float) -> Row:
    tokens = (span.usage.get("prompt_tokens", 0), span.usage.get("completion_tokens", 0))
    end_s = span.end_s if span.end_s is not None else now_s
    return Row(
        id=span.id,
        depth=min(depth, _MAX_DEPTH),
        kind=span.kind,
        name=one_line(span.name, _NAME_CHARS),
        status=span.status,
        duration_s=max(0.0, end_s - span.start_s),
        given=one_line(_given(span), _SUMMARY_CHARS),
        gave=one_line(_gave(span), _SUMMARY_CHARS),
        tokens=tokens if any(tokens) else None,
        cost_usd=span.cost_usd,
        retries=_retries(span.attributes),
    )


def _retries(attributes: dict[str, Any]) -> int:
    count = attributes.get("retries")  # of anybody: users annotate too
    return count if isinstance(count, int) else 0


def _given(span: SpanRecord) -> str:
    inputs = span.inputs
    if span.kind == "lm":
        messages = inputs.get("messages")
        if isinstance(messages, list) and messages:
            last = cast("list[Any]", messages)[-1]
            return brief(last.get("content") if isinstance(last, dict) else last)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType, reportUnknownVariableType] # a message is what a user made it
        return brief(inputs.get("prompt") or "")
    return ", ".join(f"{name}={brief(value)}" for name, value in inputs.items())


def _gave(span: SpanRecord) -> str:
    if span.error is not None:
        return f"{span.error.type.rsplit('.', 1)[-1]}: {span.error.message}"
    if span.status == "running":
        return span.arrived
    output = span.output
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
    cut = text.lstrip()[: limit + 1]
    shown = _INVISIBLE.sub(_escaped, " ".join(cut.split()))  # which may be longer than `cut`
    return shown if max(len(cut), len(shown)) <= limit else f"{shown[: limit - 1]}…"


def _escaped(match: re.Match[str]) -> str:
    return match[0].encode("unicode_escape", "backslashreplace").decode("ascii")
