"""`OpenSteps`: what of a chain is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtool.tracing.process import process_recorder
from nbtool.tracing.tree import subtree

if TYPE_CHECKING:
    from collections.abc import Container

    from nbtool.tracing.span import Span


class OpenSteps:
    """Know which steps of a chain have begun and not ended."""

    def __init__(self) -> None:
        self._steps: dict[int, tuple[int | None, str]] = {}  # id: id of the parent, what it is

    def take_up(self, root: Span) -> None:
        """Learn what is open of a chain that runs already."""
        for record in subtree(process_recorder.records(), root.id):
            if record.end_s is None:
                self._steps[record.id] = record.parent_id, f"{record.kind} {record.name}"

    def add(self, span: Span) -> None:
        """Take note that a step starts."""
        parent_id = None if span.parent is None else span.parent.id
        self._steps[span.id] = parent_id, f"{span.kind} {span.name}"

    def discard(self, span: Span) -> None:
        """Take note that a step has ended."""
        self._steps.pop(span.id, None)

    def innermost(self, without: Container[int]) -> list[tuple[int, str]]:
        """Return id and description of the open steps that have no open step inside.

        Args:
            without: Ids to leave out.
        """
        steps = list(self._steps.items())  # at once: steps of other threads come and go
        around = {parent_id for _, (parent_id, _) in steps}
        return [(i, what) for i, (_, what) in steps if i not in around and i not in without]
