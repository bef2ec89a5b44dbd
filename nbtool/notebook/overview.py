"""What nbtool is set to and does, at a glance: `status()` and ``%nbtool``."""

from __future__ import annotations

import dataclasses
from typing import Any

from nbtool.configuration import settings
from nbtool.hosts import table
from nbtool.runtime.inflight import running
from nbtool.runtime.surroundings import environment
from nbtool.tracing.process import process_recorder
from nbtool.tracing.tree import totals_of
from nbtool.views.wording import headline

_BUDGETS = {"max_usd": "USD", "max_tokens_total": "tokens"}
_MOST_CALLS = 10


@dataclasses.dataclass(frozen=True, slots=True)
class Status:
    """Say what nbtool is set to and does; its repr is a small table.

    Attributes:
        lm: The language model of the settings; that there is none.
        adapter: The adapter of the settings, or how one is chosen.
        place: Where this runs, and how synchronous calls wait.
        running: Calls that run now, the oldest first.
        recorded: What the calls of this process add up to, as far as they are remembered.
        budgets: What was spent of each limit that is set.
    """

    lm: str
    adapter: str
    place: str
    running: tuple[str, ...]
    recorded: str
    budgets: tuple[str, ...]

    def rows(self) -> list[tuple[str, list[str]]]:
        """Give the table: a label and the lines beside it."""
        shown = list(self.running[:_MOST_CALLS])
        if len(self.running) > _MOST_CALLS:
            shown.append(f"and {len(self.running) - _MOST_CALLS:,} more")
        rows = [
            ("LM", [self.lm]),
            ("adapter", [self.adapter]),
            ("place", [self.place]),
            ("running", shown or ["nothing"]),
            ("so far", [self.recorded]),
        ]
        return [*rows, ("budgets", list(self.budgets))] if self.budgets else rows

    def __repr__(self) -> str:
        return table.plain(self.rows())

    def _repr_html_(self) -> str:
        return table.html(self.rows())


def status() -> Status:
    """Say what nbtool is set to and does; ``%nbtool`` shows it too.

    Returns:
        A small table as text and in notebooks; its attributes are for programs.

    Example:
        >>> import nbtool
        >>> nbtool.status().running
        ()
    """
    here = environment()
    return Status(
        lm=repr(settings.lm) if settings.lm is not None else "none: configure(lm=nbtool.LM(...))",
        adapter=repr(settings.adapter) if settings.adapter else "chosen by the LM",
        place=f"{here.host}; synchronous calls wait by: {here.door}",
        running=tuple(map(repr, running())),
        recorded=headline(totals_of(process_recorder.records()), is_timed=False),
        budgets=tuple(_spent(name, unit) for name, unit in _BUDGETS.items() if settings[name]),
    )


def _spent(name: str, unit: str) -> str:
    limit: Any = settings[name]
    return f"{name}: {limit.spent:,.6g} of {float(limit):,.6g} {unit}"
