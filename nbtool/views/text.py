"""The trace in a terminal: a tree, by rich."""

from __future__ import annotations

import io
import time
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from nbtool.tracing.tree import totals_of
from nbtool.views.model import Placed, Row, rows
from nbtool.views.wording import ICONS, counted, headline, seconds

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Status

_COLOURS: dict[Status, str] = {
    "running": "cyan",
    "ok": "green",
    "error": "bold red",
    "cancelled": "yellow",
}
_STYLES = {"lm": "magenta", "tool": "yellow", "predict": "blue", "function": "white"}
_BLINK_S = 0.4
_GIVEN_CHARS = 60
_GAVE_CHARS = 240
_PLAIN_WIDTH = 120
_STABLE_ROWS = 100
_DRAWN_DEPTH = 12  # guides take 4 columns a level, and on 80 columns the words need room too


def tree(
    spans: Sequence[SpanRecord],
    *,
    now_s: float,
    plumbing: bool = False,
    finished: dict[int, Row] | None = None,
) -> Tree:
    """Draw records as a tree with a line of totals.

    Every text goes in as `rich.text.Text`, never as markup: an LM's words are not ours.

    Args:
        spans: Records in the order of opening.
        now_s: The present, in seconds since 1970, for steps that run.
        plumbing: Whether to show the steps of adapters too.
        finished: See `nbtool.views.model.rows`.
    """
    top = Tree(_top_line(spans), guide_style="dim")
    branches = [top]
    for placed in rows(spans, plumbing=plumbing, finished=finished):
        del branches[min(placed.depth, _DRAWN_DEPTH) + 1 :]
        branches.append(branches[-1].add(_label(placed, now_s)))
    return top


def _top_line(spans: Sequence[SpanRecord]) -> Text:
    return Text("trace  ", style="bold").append(headline(totals_of(spans)), style="dim")


def _label(placed: Placed, now_s: float) -> Text:
    row = placed.row
    icon, style = ICONS[row.status], _COLOURS[row.status]
    if row.status == "running" and int(now_s / _BLINK_S) % 2:
        icon = "○"
    label = Text(f"{icon} ", style=style, no_wrap=False)
    label.append(row.name, style=f"bold {_STYLES.get(row.kind, '')}".strip())
    label.append(f"  {row.kind}", style="dim")
    label.append(f"  {seconds(row.duration_s(now_s))}", style="cyan")
    if placed.depth > _DRAWN_DEPTH:
        label.append(f"  depth {placed.depth}", style="dim")
    if row.tokens:
        label.append(f"  {row.tokens[0]:,} → {row.tokens[1]:,} tokens", style="dim")
    if row.cached or row.shared:
        label.append("  from the cache" if row.cached else "  shared", style="green")
    if row.retries:
        label.append(f"  sent {row.retries + 1} times", style="yellow")
    if row.given and row.kind != "lm":
        label.append(f"  {_shortened(row.given, _GIVEN_CHARS)}", style="dim")
    if row.gave:
        shown = "red" if row.status == "error" else "default"
        label.append("\n")
        label.append(_shortened(row.gave, _GAVE_CHARS), style=shown)
    return label


def _shortened(text: str, limit: int) -> str:
    return text if len(text) <= limit else f"{text[: limit - 1]}…"


def plain(spans: Sequence[SpanRecord]) -> str:
    """Write records as a tree without colours or control codes.

    Args:
        spans: Records in the order of opening.
    """
    console = Console(
        file=io.StringIO(),
        width=_PLAIN_WIDTH,
        color_system=None,
        force_terminal=False,
        force_jupyter=False,  # else a notebook gets an empty output beside the text
    )
    with console.capture() as captured:
        console.print(tree(spans, now_s=time.time()))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def stable(spans: Sequence[SpanRecord]) -> str:
    """Write records as a tree that is the same in every run: no times, prices or ids.

    It is the plain form of an output, which notebooks under test compare.

    Args:
        spans: Records in the order of opening.
    """
    totals = totals_of(spans)
    lines = [f"trace: {counted(totals.steps, 'step')}, {counted(totals.lm_calls, 'LM call')}"]
    for placed in rows(spans)[:_STABLE_ROWS]:
        row = placed.row
        lines.append(f"{'  ' * (placed.depth + 1)}{row.name} [{row.kind}] {row.status}")
    return "\n".join(lines)
