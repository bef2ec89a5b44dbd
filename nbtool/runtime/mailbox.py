"""`Mailbox`: what has happened, from whatever thread, until one reader takes it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbtool.runtime.waiters import Waiter

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

T = TypeVar("T")

MOST_WAITING = 10_000
"""Most entries without a key that wait; then the oldest of them is dropped."""

_log = logging.getLogger("nbtool")


class _Entry(Generic[T]):
    __slots__ = ("items", "key")

    def __init__(self, key: Hashable | None, item: T) -> None:
        self.key = key
        self.items = [item]


class Mailbox(Generic[T]):
    """Take entries without ever waiting, and give them out in order.

    A slow reader must not stop the program, so nothing here blocks. Instead, entries that belong
    together wait as one: their number is bounded by what they belong to, not by their own.

    Args:
        join: Makes one entry of several with the same key, oldest first.
    """

    def __init__(self, join: Callable[[list[T]], T]) -> None:
        self._join = join
        self._lock = threading.Lock()
        self._waiting: deque[_Entry[T]] = deque()
        self._by_key: dict[Hashable, _Entry[T]] = {}
        self._without_key = 0
        self._dropped = 0
        self._waiter: Waiter | None = None
        self._is_closed = False
        self._is_cancelled = False

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, item: T, key: Hashable | None = None) -> None:
        """Take an entry, from any thread.

        Args:
            item: The entry.
            key: What it belongs to. It joins one that waits with the same key.
        """
        with self._lock:
            waits = self._by_key.get(key) if key is not None else None
            if waits is not None:
                waits.items.append(item)
                return
            entry = _Entry(key, item)
            self._waiting.append(entry)
            if key is not None:
                self._by_key[key] = entry
            else:
                self._without_key += 1
                self._drop_the_oldest()
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.settle()

    def _drop_the_oldest(self) -> None:
        if self._without_key <= MOST_WAITING:
            return
        oldest = next(entry for entry in self._waiting if entry.key is None)
        self._waiting.remove(oldest)
        self._without_key -= 1
        if not self._dropped:
            _log.warning("Nobody reads a stream: its oldest messages are dropped.")
        self._dropped += 1

    def close(self) -> None:
        """Tell the reader that nothing more will come, from any thread."""
        with self._lock:
            self._is_closed = True
            waiter, self._waiter = self._waiter, None
        if waiter is not None:
            waiter.settle()

    def cancel(self) -> None:
        """Cancel the reader's wait, or its next one where it does not wait.

        It is called on the reader's own thread, also by the handler of a signal.
        """
        self._is_cancelled = True  # no lock: a signal strikes the reader while it holds it
        waiter = self._waiter
        if waiter is not None:
            waiter.cancel()

    def uncancel(self) -> None:
        """Forget a `cancel` that has met no wait."""
        self._is_cancelled = False

    async def take(self, end: Any = None) -> T | Any:
        """Wait for the next entry, and take it; for one reader at a time, on any loop.

        Args:
            end: What is returned when nothing more will come.

        Raises:
            CancelledError: By `cancel`, once.
        """
        while True:
            with self._lock:
                if self._waiting:
                    return self._taken()
                if self._is_closed:
                    return end
                waiter = self._waiter = Waiter(asyncio.get_running_loop(), None)
            try:
                if not self._is_cancelled:
                    await waiter
            finally:
                was_cancelled, self._is_cancelled = self._is_cancelled, False
            if was_cancelled:
                raise asyncio.CancelledError

    def _taken(self) -> T:
        entry = self._waiting.popleft()
        if entry.key is None:
            self._without_key -= 1
        else:
            del self._by_key[entry.key]
        return entry.items[0] if len(entry.items) == 1 else self._join(entry.items)
