"""Siblings of one kind and name, which become one row once they are many; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.views.model import GROUP_FROM, NAME_CHARS, Tally, one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtool.tracing.record import SpanRecord
    from nbtool.views.wire import WireRow

_CROWD = 100  # members; those that come later have no values at first


class Group:
    """Be many steps of one kind and name below one parent.

    Args:
        first: The first of them.

    Attributes:
        number: Of its row; no step has it.
        name: Of its members, as it is shown.
        alive: How many members have a row.
    """

    __slots__ = ("_running", "alive", "name", "number", "tally")

    def __init__(self, first: SpanRecord) -> None:
        self.number = -first.id
        self.name = one_line(first.name, NAME_CHARS)
        self.alive = 0
        self.tally = Tally(first)
        self._running: set[int] = set()

    def count(self, record: SpanRecord, *, is_new: bool) -> None:
        """Count a member that was opened, or has ended."""
        if is_new:
            self.tally.opened()
            self.alive += 1
            self._running.add(record.id)
        if record.end_s is not None and record.id in self._running:
            self._running.discard(record.id)
            self.tally.ended(record)

    def hides_values_of(self, record: SpanRecord) -> bool:
        """Tell whether a member is one of very many, and tells nothing that they do not."""
        return self.alive > _CROWD and record.status != "error"


class Groups:
    """Find siblings that are many."""

    def __init__(self) -> None:
        self._few: dict[tuple[Any, ...], dict[int, SpanRecord]] = {}
        self._many: dict[tuple[Any, ...], Group] = {}
        self._changed: dict[int, Group] = {}
        self._moved: list[int] = []

    def take(
        self, record: SpanRecord, rows: Mapping[int, WireRow], *, is_new: bool
    ) -> Group | None:
        """Count a step.

        Args:
            record: The step.
            rows: Rows of steps that were taken before; those that move into a new group are told
                by `moved`.
            is_new: Whether it was not taken before.

        Returns:
            The group that it belongs to, if any.
        """
        if record.kind == "adapter":
            return None
        key = _alike(record)
        group = self._many.get(key)
        if group is None:
            few = self._few.setdefault(key, {})
            if is_new:
                few[record.id] = record
            return self._begin(key, list(few.values()), rows) if len(few) >= GROUP_FROM else None
        group.count(record, is_new=is_new)
        self._changed[group.number] = group
        return group

    def _begin(
        self, key: tuple[Any, ...], few: Sequence[SpanRecord], rows: Mapping[int, WireRow]
    ) -> Group:
        group = self._many[key] = Group(few[0])
        del self._few[key]
        for member in few:
            group.count(member, is_new=True)
        for member in few:
            if member.id in rows:
                rows[member.id][1] = group.number
                self._moved.append(member.id)
        self._changed[group.number] = group
        return group

    def of(self, record: SpanRecord) -> Group | None:
        """Return the group of a step, if it is in one."""
        return self._many.get(_alike(record)) if record.kind != "adapter" else None

    def forget(self, record: SpanRecord) -> int | None:
        """Forget a step without a row; returns its group, if it was the last."""
        key = _alike(record)
        few = self._few.get(key)
        if few is not None:
            few.pop(record.id, None)
            if not few:
                del self._few[key]
            return None
        group = self._many.get(key)
        if group is None:
            return None
        group.alive -= 1
        if group.alive:
            return None
        del self._many[key]
        self._changed.pop(group.number, None)
        return group.number

    def changed(self) -> list[Tally]:
        """Return the groups that have changed since the last time."""
        changed, self._changed = self._changed, {}
        return [group.tally for group in changed.values()]

    def moved(self) -> list[int]:
        """Return the steps that had a row and got into a group meanwhile."""
        moved, self._moved = self._moved, []
        return moved


def _alike(record: SpanRecord) -> tuple[Any, ...]:
    return record.parent_id, record.kind, record.name
