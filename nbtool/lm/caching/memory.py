"""The first tier: entries in memory, the least recently used go first."""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbtool.lm.caching.entries import Entry


class Memory:
    """Keep a bounded number of entries; safe to use from several threads.

    There is no lock: each step is one operation of an `OrderedDict` with strings as keys, which
    no other thread can interrupt.

    Args:
        max_entries: Most entries, > 0; ``math.inf`` for no limit.
    """

    def __init__(self, max_entries: float) -> None:
        self.max_entries = max_entries
        self._entries: OrderedDict[str, Entry] = OrderedDict()

    def get(self, key: str) -> Entry | None:
        """Return an entry, now the most recently used; None where there is none."""
        try:
            self._entries.move_to_end(key)
            return self._entries[key]
        except KeyError:
            return None

    def put(self, key: str, entry: Entry) -> None:
        """Keep an entry; drop the least recently used where there are too many."""
        self._entries.pop(key, None)  # so that it goes to the end
        self._entries[key] = entry
        with contextlib.suppress(KeyError):  # another thread has just emptied it
            while len(self._entries) > self.max_entries:
                self._entries.popitem(last=False)

    def items(self) -> list[tuple[str, Entry]]:
        """Return keys and entries, the least recently used first."""
        return list(self._entries.items())

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()

    def __contains__(self, key: object) -> bool:
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)
