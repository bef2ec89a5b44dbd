"""The words and signs that the views share."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbtool.tracing.span import Status
    from nbtool.tracing.tree import Totals

ICONS: dict[Status, str] = {"running": "●", "ok": "✓", "error": "✗", "cancelled": "◌"}
"""A sign for each way in which a step stands."""


def headline(totals: Totals, *, is_timed: bool = True) -> str:
    """Say in one line what a trace adds up to.

    Args:
        totals: The sums.
        is_timed: Whether to say how long it took; without, the line is the same in every run.
    """
    parts = [counted(totals.steps, "step"), counted(totals.lm_calls, "LM call")]
    if totals.prompt_tokens or totals.completion_tokens:
        parts.append(f"{totals.prompt_tokens:,} → {totals.completion_tokens:,} tokens")
    if totals.cost_usd is not None:
        parts.append(f"${totals.cost_usd:.4f}")
    if totals.errors:
        parts.append(counted(totals.errors, "error"))
    if totals.wall_s and is_timed:
        parts.append(seconds(totals.wall_s))
    return " · ".join(parts)


def counted(number: int, noun: str) -> str:
    """Write a number with its noun: ``1 step``, ``1,200 steps``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def seconds(duration_s: float) -> str:
    """Write a duration as ``850 ms``, ``2.41 s`` or ``3 min 20 s``."""
    if duration_s < 0.9995:  # noqa: PLR2004 - else it would be rounded to 1000 ms
        return f"{duration_s * 1000:.0f} ms"
    if duration_s < 59.995:  # noqa: PLR2004 - else it would be rounded to 60.00 s
        return f"{duration_s:.2f} s"
    minutes, rest = divmod(round(duration_s), 60)
    return f"{minutes} min {rest} s"
