"""A small table of labels and lines, as plain text and as HTML."""

from __future__ import annotations

import textwrap
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_COLUMNS = 100
_GAP = "  "


def plain(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Lay out a table in plain text, at most 100 columns wide.

    Args:
        rows: Labels, each with the lines beside it.

    Returns:
        Aligned lines; several lines beside one label are marked by dashes.
    """
    width = max(len(label) for label, _ in rows)
    laid_out: list[str] = []
    for label, lines in rows:
        pieces = [piece for line in lines for piece in _wrapped(line, width, len(lines) > 1)]
        labels = [label, *[""] * (len(pieces) - 1)]
        laid_out += [
            f"{name:{width}}{_GAP}{piece}" for name, piece in zip(labels, pieces, strict=True)
        ]
    return "\n".join(laid_out)


def html(rows: Sequence[tuple[str, Sequence[str]]]) -> str:
    """Lay out a table in HTML that takes its colours from the page.

    Args:
        rows: Labels, each with the lines beside it.

    Returns:
        One escaped table; dollar signs in it are not taken for formulas.
    """
    body = "".join(
        f'<tr><th style="text-align: left; vertical-align: top">{escape(label)}</th>'
        f'<td style="text-align: left">{"<br>".join(map(escape, lines))}</td></tr>'
        for label, lines in rows
    )
    return f'<table class="tex2jax_ignore mathjax_ignore"><tbody>{body}</tbody></table>'


def _wrapped(line: str, label_width: int, is_listed: bool) -> list[str]:
    mark = "- " if is_listed else ""
    return textwrap.wrap(
        line,
        _COLUMNS - label_width - len(_GAP),
        initial_indent=mark,
        subsequent_indent=" " * len(mark),
        break_on_hyphens=False,
    )
