"""Two traces side by side, as HTML without script or styles of a page."""

from __future__ import annotations

import difflib
import json
import re
from html import escape
from typing import TYPE_CHECKING, Any

from nbtool.tracing.comparison import SIGNS, said

if TYPE_CHECKING:
    from nbtool.tracing.comparison import Difference, Row

_MOST_ROWS = 200
_CHARS = 1_000  # of a value
_CELL = "text-align:left;vertical-align:top;white-space:pre-wrap;overflow-wrap:anywhere"
_WORDS = re.compile(r"\s+|\w+|.")


def side_by_side(difference: Difference) -> str:
    """Draw two traces: a line for each step, and below it what changed.

    Args:
        difference: What `Trace.diff` gave. Of many steps those that changed are shown.

    Returns:
        A fragment; every text in it is escaped.
    """
    rows = difference.rows if len(difference.rows) <= _MOST_ROWS else difference.changes
    lines = [line for row in rows[:_MOST_ROWS] for line in _lines(row)]
    counted = f"{len(difference.changes):,} of {len(difference.rows):,} steps differ"
    left_out = len(rows) - _MOST_ROWS
    more = f"<p>… and {left_out:,} more</p>" if left_out > 0 else ""
    head = "".join(_cell(name, "th") for name in ("Step", "Before", "After"))
    return (
        f'<div class="tex2jax_ignore mathjax_ignore nbtool-trace"><p>{counted}</p>'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>{more}</div>"
    )


def _lines(row: Row) -> list[str]:
    name = f"{SIGNS[row.change]} {'· ' * row.depth}{row.name}"
    states = [_state(record) for record in (row.before, row.after)]
    lines = [_line(_cell(name, "th"), *(_cell(state) for state in states))]
    if row.before is None or row.after is None:
        return lines
    for what in row.what:
        is_error = what == "error"
        old, new = (
            said(record) if is_error else getattr(record, what)
            for record in (row.before, row.after)
        )
        label = _cell(f"{'  ' * row.depth}  {what}")
        lines.append(_line(label, *_marked(_written(old), _written(new))))
    return lines


def _state(record: Any) -> str:
    return record.status if record is not None else "-"


def _written(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= _CHARS else f"{text[:_CHARS]}…"


def _marked(old: str, new: str) -> tuple[str, str]:
    """Return both cells, with what is only in one of them set off."""
    one, other = _WORDS.findall(old), _WORDS.findall(new)
    before: list[str] = []
    after: list[str] = []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        gone, come = escape("".join(one[i:j])), escape("".join(other[k:m]))
        before.append(gone if tag == "equal" or not gone else f"<del>{gone}</del>")
        after.append(come if tag == "equal" or not come else f"<ins>{come}</ins>")
    return _raw_cell("".join(before)), _raw_cell("".join(after))


def _line(*cells: str) -> str:
    return f"<tr>{''.join(cells)}</tr>"


def _cell(text: str, tag: str = "td") -> str:
    return _raw_cell(escape(text), tag)


def _raw_cell(safe: str, tag: str = "td") -> str:
    return f'<{tag} style="{_CELL}">{safe}</{tag}>'
