"""Measure two sides by turns, so that what disturbs the machine disturbs both."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING

from bench.registry import Pair

if TYPE_CHECKING:
    from collections.abc import Callable

REPEATS = 5


def medians(
    own: Callable[[], float], rival: Callable[[], float], *, repeats: int = REPEATS
) -> Pair:
    """Return the medians of both sides over several turns.

    Args:
        own: Measures nbtool.
        rival: Measures the competitor.
        repeats: How often each; who begins changes from turn to turn.
    """
    figures: dict[Callable[[], float], list[float]] = {own: [], rival: []}
    for turn in range(repeats):
        for side in (own, rival) if turn % 2 == 0 else (rival, own):
            figures[side].append(side())
    return Pair(statistics.median(figures[own]), statistics.median(figures[rival]))
