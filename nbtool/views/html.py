"""The static form of a trace: HTML without script, styles of a page, links or images.

It is what a saved notebook keeps, so it must be readable on GitHub, which takes styles, classes
and ids away: names, status and values stand in plain nested ``<details>``.
"""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast

from nbtool.tracing.tree import totals_of
from nbtool.views.model import Row, brief, one_line, rows
from nbtool.views.wording import ICONS, headline, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord

Saved: TypeAlias = Literal["summary", "full", "none"]
"""How much of the values a saved notebook keeps."""

_CHARS: dict[str, int] = {"summary": 160, "full": 2_000}
_RESULT_CHARS: dict[str, int] = {"summary": 1_000, "full": 10_000}
_MOST_ROWS = 400
_LABEL_CHARS = 400
_VALUE = "padding-left:1.2em"
_LIST = "list-style:none;margin:0;padding-left:1.2em"
# In the open, so that it is read where a page's own styles are taken away or differ.
_MONO = "font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px)"


def static(
    spans: Sequence[SpanRecord],
    *,
    saved: Saved = "summary",
    note: str = "",
    now_s: float | None = None,
) -> str:
    """Draw records as HTML that needs nothing else.

    Args:
        spans: Records in the order of opening.
        saved: ``"summary"`` cuts values short, ``"full"`` keeps 2,000 characters of each,
            ``"none"`` keeps no value.
        note: One line below the tree.
        now_s: The present, in seconds since 1970, for steps that run.

    Returns:
        A fragment; every text in it is escaped.
    """
    now_s = time.time() if now_s is None else now_s
    parts = [f'<div class="tex2jax_ignore mathjax_ignore nbtool-trace" style="{_MONO}">']
    if saved == "none":
        parts.append(_paragraph(f"{headline(totals_of(spans))}. Nothing of it is kept here."))
    else:
        parts += [_results(spans, _RESULT_CHARS[saved]), _tree(spans, _CHARS[saved], now_s)]
    parts += [_paragraph(note)] if note else []
    return "".join([*parts, "</div>"])


def whole(spans: Sequence[SpanRecord], *, title: str) -> str:
    """Draw records as a page of its own, with all that is kept of their values.

    Args:
        spans: Records in the order of opening.
        title: What the page is called.
    """
    now_s = max((span.end_s or span.start_s for span in spans), default=0.0)
    drawn = static(spans, saved="full", now_s=now_s)
    head = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="color-scheme" content="light dark"><body>'
    )
    return f"{head}{drawn}</body></html>\n"


def copy(spans: Sequence[SpanRecord], *, saved: Saved = "summary") -> str:
    """Draw records folded up, for the output beside a live view.

    A page that is reloaded has nothing else to show.

    Args:
        spans: Records in the order of opening.
        saved: As for `static`.
    """
    summary = "A copy of the trace above, as it was a moment ago"
    return f"<details><summary>{summary}</summary>{static(spans, saved=saved)}</details>"


def _results(spans: Sequence[SpanRecord], chars: int) -> str:
    """Show what the root calls gave, the fields of a prediction as a table."""
    roots = [span for span in spans if span.parent_id is None]
    if len(roots) != 1 or roots[0].error is not None or roots[0].end_s is None:
        return ""
    output = roots[0].short_output(chars)
    if not isinstance(output, dict):
        return ""
    # Short ones first: ReAct's trajectory stands before its answer, and is long.
    fields = sorted(cast("dict[str, Any]", output).items(), key=lambda field: _is_long(field[1]))
    cells = "".join(
        f'<tr><th style="text-align:left;vertical-align:top">{_text(name, 100)}</th>'
        f'<td style="text-align:left;white-space:pre-wrap">{_lines(brief(value), chars)}</td></tr>'
        for name, value in fields
    )
    return f"<table><tbody>{cells}</tbody></table>"


def _is_long(value: Any) -> bool:
    return isinstance(value, (dict, list))


def _tree(spans: Sequence[SpanRecord], chars: int, now_s: float) -> str:
    placed = rows(spans)
    shown = placed[:_MOST_ROWS]
    totals = totals_of(spans)
    is_open = " open" if totals.errors or any(span.end_s is None for span in spans) else ""
    parts = [f"<details{is_open}><summary>{escape(headline(totals))}</summary>"]
    depth = -1
    next_depths = [*(each.depth for each in shown[1:]), 0]
    for each, next_depth in zip(shown, next_depths, strict=False):
        parts.append(_down(depth, each.depth))
        is_open = next_depth > each.depth and each.row.kind != "group"
        parts.append(_item(each.row, chars, now_s, is_open=is_open))
        depth = each.depth
    parts.append(_down(depth, -1))
    if len(placed) > len(shown):
        parts.append(_paragraph(f"… and {len(placed) - len(shown):,} more rows"))
    return "".join([*parts, "</details>"])


def _down(before: int, depth: int) -> str:
    """Close what ends between a row and the next, and open what begins."""
    if depth > before:
        return f'<ul style="{_LIST}">' if depth >= 0 else ""
    closing = "</details></li>" + "</ul></details></li>" * (before - max(depth, 0))
    return closing if depth >= 0 else f"{closing}</ul>"


def _item(row: Row, chars: int, now_s: float, *, is_open: bool) -> str:
    opening = " open" if is_open or row.status == "error" else ""
    values = [_value(row.given, chars)] if row.kind != "lm" else []
    values += [_value(row.gave, chars)]
    return (
        f"<li><details{opening}><summary>{_text(_label(row, now_s), _LABEL_CHARS)}</summary>"
        f"{''.join(values)}"
    )


def _label(row: Row, now_s: float) -> str:
    parts = [f"{ICONS[row.status]} {row.name}", row.kind, seconds(row.duration_s(now_s))]
    if row.tokens:
        parts.append(f"{row.tokens[0]:,} → {row.tokens[1]:,} tokens")
    if row.cached or row.shared:
        parts.append("from the cache" if row.cached else "shared")
    if row.retries:
        parts.append(f"sent {row.retries + 1} times")
    return " · ".join(parts)


def _value(text: str, chars: int) -> str:
    return f'<div style="{_VALUE}">{_text(text, chars)}</div>' if text else ""


def _paragraph(text: str) -> str:
    return f"<p>{_text(text, _LABEL_CHARS)}</p>"


def _lines(text: str, chars: int) -> str:
    return "\n".join(_text(line, chars) for line in text[:chars].split("\n"))


def _text(text: object, chars: int) -> str:
    return escape(one_line(str(text), chars))
