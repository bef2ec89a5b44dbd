"""A trace as Markdown: a nested list, for an issue, a pull request or a chat."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

from nbtool.tracing.tree import totals_of
from nbtool.views.model import one_line, rows
from nbtool.views.wording import ICONS, headline, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+!|~&$-])")  # what Markdown, HTML or formulas begin with
_MOST_ROWS = 200
_CHARS = 120


def summary(spans: Sequence[SpanRecord]) -> str:
    """Write records as a nested list with a line of totals.

    Args:
        spans: Records in the order of opening.
    """
    now_s = time.time()
    lines = [f"**trace** {escaped(headline(totals_of(spans)))}", ""]
    placed = rows(spans)
    for each in placed[:_MOST_ROWS]:
        row = each.row
        told = f"{ICONS[row.status]} **{escaped(row.name)}** {row.kind}"
        told += f" · {seconds(row.duration_s(now_s))}"
        if row.gave:
            told += f" · {escaped(one_line(row.gave, _CHARS))}"
        lines.append(f"{'  ' * each.depth}- {told}")
    if len(placed) > _MOST_ROWS:
        lines.append(f"- … and {len(placed) - _MOST_ROWS:,} more")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Write a text so that Markdown shows it as it is."""
    return _SPECIAL.sub(r"\\\1", text)
