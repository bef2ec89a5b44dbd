"""The second tier: a file of answers, used from one thread, so that no loop waits for a disk.

Writing is behind: `write` returns at once, and the thread writes whatever has come together in one
transaction. Readers see what was not written yet, and pass those that write.

sqlite must not be open across a fork: parent and child would take each other's locks for their
own. So the file is closed before one, and each process opens it again.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import dataclasses
import itertools
import logging
import os
import threading
import time
import weakref
from typing import TYPE_CHECKING

from nbtool.lm.caching.store import BusyError, Store

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nbtool.lm.caching.entries import Written

_log = logging.getLogger("nbtool")

_IDLE_S = 10.0
_RETRY_S = 0.1  # after another process kept us out
_EXIT_S = 1.0  # how long the end of the program waits for what was not written yet
_FORK_S = 5.0  # how long a fork waits until the file is closed
_BATCH = 500
_MOST_UNSAVED = 10_000  # a disk that is slower than the answers come in gets no more
_LARGEST_BYTES = 256 * 1024 * 1024

_disks: weakref.WeakSet[Disk] = weakref.WeakSet()
_inherited: list[object] = []  # connections of the process that forked this one


@dataclasses.dataclass(slots=True, eq=False)
class _Reading:
    """Somebody on a loop who waits for an answer from disk."""

    key: str
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Written | None]

    def settle(self, entry: Written | None) -> None:
        """Hand the answer over, from the disk's thread."""
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile: nobody waits
            self.loop.call_soon_threadsafe(_set, self.future, entry)


@dataclasses.dataclass(slots=True)
class _Work:
    """What the thread does next."""

    reads: list[_Reading]
    entries: dict[str, Written]
    used: set[str] = dataclasses.field(default_factory=set[str])


def _set(future: asyncio.Future[Written | None], entry: Written | None) -> None:
    if not future.done():
        future.set_result(entry)


class Disk:
    """Keep answers in a file; safe to use from any thread and loop, and after a fork.

    Args:
        folder: Where the file lies; nothing is made before the first answer is written.
        limit_bytes: Size above which the answers used longest ago are deleted.
        idle_s: Seconds after which an unused thread closes the file and ends.
    """

    def __init__(self, folder: Path, limit_bytes: float, idle_s: float = _IDLE_S) -> None:
        self._store = Store(folder, limit_bytes)
        self._idle_s = idle_s
        self._begin()
        _disks.add(self)

    def _begin(self) -> None:
        self._changed = threading.Condition()
        self._using = threading.Lock()  # held while the thread works on the file
        self._reads: list[_Reading] = []
        self._unsaved: dict[str, Written] = {}
        self._used: set[str] = set()
        self._thread: threading.Thread | None = None
        self._is_ending = False
        self._is_held = False

    @property
    def file(self) -> Path:
        """The file; it may not exist yet."""
        return self._store.file

    async def read(self, key: str) -> Written | None:
        """Return an answer; None where there is none."""
        unsaved = self._unsaved.get(key)
        if unsaved is not None:
            return unsaved
        loop = asyncio.get_running_loop()
        reading = _Reading(key, loop, loop.create_future())
        with self._changed:
            if not self._has_thread():
                return None
            self._reads.append(reading)
            self._changed.notify_all()
        return await reading.future

    def write(self, key: str, entry: Written) -> None:
        """Keep an answer, some time soon."""
        size_bytes = len(entry.body)
        if size_bytes > min(_LARGEST_BYTES, self._store.limit_bytes):
            _log.debug("An answer of %s bytes is too large for the disk cache.", f"{size_bytes:,}")
            return
        with self._changed:
            if len(self._unsaved) >= _MOST_UNSAVED or not self._has_thread():
                return
            self._unsaved[key] = entry
            self._changed.notify_all()

    def flush(self, timeout_s: float) -> bool:
        """Wait until everything is written.

        Returns:
            False where that took longer than `timeout_s`.
        """
        with self._changed:
            return self._changed.wait_for(
                lambda: not self._unsaved or self._store.is_off, timeout_s
            )

    # -- the thread ----------------------------------------------------------------------------

    def _has_thread(self) -> bool:
        """Start the thread where there is none; False where nothing can be read or written."""
        if self._store.is_off or self._is_ending:
            return False
        if self._thread is None:
            # A daemon, so that a slow disk cannot keep the process from ending.
            thread = threading.Thread(target=self._run, name="nbtool-disk-cache", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # no further thread can be started
                return False
            self._thread = thread
        return True

    def _run(self) -> None:
        try:
            while (work := self._next()) is not None:
                with self._using:
                    self._serve(work.reads)
                    is_busy = not self._save(work)
                if is_busy:
                    with self._changed:
                        self._changed.wait(_RETRY_S)
        except Exception as error:  # noqa: BLE001 - a bug of ours must not let those hang who wait for us
            self._store.give_up(error)
            with self._changed:
                self._thread = None
                self._unsaved.clear()
                left, self._reads = self._reads, []
                self._changed.notify_all()
            self._serve(left)
        with self._using:
            self._store.close()

    def _next(self) -> _Work | None:
        """Wait for work and take it; None where the thread shall end."""
        with self._changed:
            is_idle = self._is_ending
            if not (self._reads or self._unsaved or self._store.may_be_large or is_idle):
                is_idle = not self._changed.wait(self._idle_s)
            work = _Work(self._reads, dict(itertools.islice(self._unsaved.items(), _BATCH)))
            self._reads = []
            if work.entries or is_idle or len(self._used) >= _BATCH:
                work.used, self._used = self._used, set()
            if is_idle and not (work.reads or work.entries or work.used):
                self._thread = None  # whoever comes now starts another
                return None
            return work

    def _serve(self, reads: list[_Reading]) -> None:
        left = iter(reads)
        try:
            for reading in left:
                entry = None
                try:
                    entry = self._store.read(reading.key)
                finally:
                    reading.settle(entry)
                if entry is not None:
                    self._used.add(reading.key)
        finally:
            for reading in left:
                reading.settle(None)

    def _save(self, work: _Work) -> bool:
        """Write answers and make room; False where another process keeps us out for now."""
        try:
            if work.entries or work.used:
                self._store.save(work.entries, work.used)
                self._note_saved(work.entries)
            if self._store.may_be_large:
                self._store.shrink()
        except BusyError:
            return False
        return True

    def _note_saved(self, entries: dict[str, Written]) -> None:
        with self._changed:
            for key, entry in entries.items():
                if self._unsaved.get(key) is entry:  # else there is a newer one
                    del self._unsaved[key]
            self._changed.notify_all()

    # -- ends ----------------------------------------------------------------------------------

    def end(self, timeout_s: float) -> None:
        """Write what is left, take no more, and close the file; wait so long at most."""
        with self._changed:
            self._is_ending = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(timeout_s)

    def close_for_fork(self) -> None:
        """Close the file, and let the thread wait until the fork is over."""
        self._is_held = self._using.acquire(timeout=_FORK_S)
        if self._is_held:
            self._store.close()

    def go_on(self) -> None:
        """Let the thread use the file again."""
        if self._is_held:
            self._is_held = False
            self._using.release()

    def start_anew(self) -> None:
        """Be the forked child's own: only the forking thread lives there."""
        if not self._is_held:  # the file could not be closed: nor must it be here
            _inherited.append(self._store)
            self._store = Store(self._store.file.parent, self._store.limit_bytes)
        self._begin()


@atexit.register
def _end_all() -> None:
    until_s = time.monotonic() + _EXIT_S
    for disk in list(_disks):
        disk.end(max(0.0, until_s - time.monotonic()))


def _each(method: Callable[[Disk], None]) -> Callable[[], None]:
    def call() -> None:
        for disk in list(_disks):
            method(disk)

    return call


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(
        before=_each(Disk.close_for_fork),
        after_in_parent=_each(Disk.go_on),
        after_in_child=_each(Disk.start_anew),
    )
