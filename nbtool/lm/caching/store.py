"""The file of answers, whatever befalls it: damaged, read-only, full, moved, busy.

A cache must not fail a call. So a file that is damaged is moved aside and a new one begun; where
nothing can be kept, that is said once, and answers are kept in memory only.
"""

from __future__ import annotations

import contextlib
import enum
import logging
import math
import sqlite3
from typing import TYPE_CHECKING, TypeVar

from nbtool.lm.caching.database import FILE_NAME, Database, OtherSchemaError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from nbtool.lm.caching.entries import Written

T = TypeVar("T")
_log = logging.getLogger("nbtool")

_MOST_MOVES = 3  # a file that is damaged ever again lies on a disk that is
_SIDE_FILES = ("-wal", "-shm")  # what sqlite has beside a file
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR})
_UNWRITABLE = frozenset({sqlite3.SQLITE_READONLY, sqlite3.SQLITE_FULL})


class BusyError(Exception):
    """Say that another process keeps us from the file for now."""


class _Trouble(enum.Enum):
    BUSY = enum.auto()
    DAMAGED = enum.auto()
    UNWRITABLE = enum.auto()
    UNUSABLE = enum.auto()


class Store:
    """Read and write answers on disk; nothing is opened before the first of these.

    Args:
        folder: Where the file lies, or will.
        limit_bytes: Size above which the answers used longest ago are deleted.

    Attributes:
        file: The file.
        is_off: It cannot be used; nothing is read or written any more.
        may_be_large: Whether `shrink` may have something to do.
    """

    def __init__(self, folder: Path, limit_bytes: float) -> None:
        self.file = folder / FILE_NAME
        self.limit_bytes = limit_bytes
        self.is_off = False
        self.may_be_large = False
        self._can_write = True
        self._moves = 0
        self._database: Database | None = None
        self._identity: tuple[int, int] | None = None  # of the file that is open, or was tried

    def read(self, key: str) -> Written | None:
        """Return an answer, None where there is none; no file is made."""

        def work() -> Written | None:
            database = self._opened() if self._database or self.file.exists() else None
            return database.read(key) if database else None

        with contextlib.suppress(BusyError):
            return self._tried(work)
        return None

    def save(self, entries: Mapping[str, Written], used: Iterable[str]) -> None:
        """Write answers, and note which others were used.

        Raises:
            BusyError: Nothing was written; it may be later.
        """
        if not self._can_write or not (entries or self.file.exists()):
            return

        self._tried(lambda: self._opened().save(entries, used))
        self.may_be_large = math.isfinite(self.limit_bytes)

    def shrink(self) -> None:
        """Delete some of what is too much; `may_be_large` tells whether to go on.

        Raises:
            BusyError: Nothing was deleted; it may be later.
        """
        more = self._can_write and self._tried(lambda: self._opened().shrink(self.limit_bytes))
        self.may_be_large = bool(more)

    def close(self) -> None:
        """Close the file; it is opened again when it is needed."""
        database, self._database = self._database, None
        if database is not None:
            with contextlib.suppress(sqlite3.Error):  # what is committed is safe
                database.close()

    def give_up(self, error: BaseException) -> None:
        """Keep nothing on disk from now on, and say so."""
        self.is_off = True
        self.close()
        _log.warning(
            "No answers are kept in %s: %s. Memory keeps them while the program runs. Name "
            "another folder by NBTOOL_CACHE_DIR or configure_cache(disk_cache_dir=...).",
            self.file,
            error,
        )

    def _opened(self) -> Database:
        if self._database is not None and self._was_replaced():
            self.close()
        if self._database is None:
            self._identity = _identity_of(self.file)
            self._database = Database(self.file)
            self._identity = _identity_of(self.file)
        return self._database

    def _was_replaced(self) -> bool:
        """Tell whether somebody deleted the file, or moved it aside."""
        return _identity_of(self.file) != self._identity

    def _tried(self, work: Callable[[], T]) -> T | None:
        while not self.is_off:
            try:
                return work()
            except (sqlite3.Error, OSError) as error:
                trouble = _trouble_of(error)
                if trouble is _Trouble.BUSY:
                    raise BusyError from error
                if trouble is _Trouble.UNWRITABLE:
                    self._stop_writing(error)
                    break
                if trouble is _Trouble.DAMAGED and self._moves < _MOST_MOVES:
                    self._move_aside(error)
                else:
                    self.give_up(error)
        return None

    def _stop_writing(self, error: Exception) -> None:
        self._can_write = False
        _log.warning(
            "No further answers are kept in %s: %s. What is there is still read.", self.file, error
        )

    def _move_aside(self, error: Exception) -> None:
        self._moves += 1
        self.close()
        if self._was_replaced():  # another process has found the damage too, and was quicker
            return
        try:
            aside = _free_name(self.file)
            # First what lies beside it: sqlite would play an old log into a new file.
            for suffix in (*_SIDE_FILES, ""):
                with contextlib.suppress(FileNotFoundError):
                    _beside(self.file, suffix).rename(_beside(aside, suffix))
        except OSError as refusal:
            self.give_up(refusal)
            return
        _log.warning(
            "The cache %s was damaged (%s). It was moved to %s, and a new one begun.",
            self.file,
            error,
            aside.name,
        )


def _trouble_of(error: sqlite3.Error | OSError) -> _Trouble:
    if isinstance(error, OtherSchemaError):
        return _Trouble.DAMAGED
    code = getattr(error, "sqlite_errorcode", None)
    if code == sqlite3.SQLITE_READONLY_DBMOVED:  # just now; the next try opens what is there
        return _Trouble.BUSY
    primary = code & 0xFF if isinstance(code, int) else None  # above it stand details
    for codes, trouble in (
        (_BUSY, _Trouble.BUSY),
        (_DAMAGED, _Trouble.DAMAGED),
        (_UNWRITABLE, _Trouble.UNWRITABLE),
    ):
        if primary in codes:
            return trouble
    return _Trouble.UNUSABLE


def _identity_of(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def _free_name(file: Path) -> Path:
    number = 1
    while (aside := file.with_name(f"{file.name}.damaged-{number}")).exists():
        number += 1
    return aside


def _beside(file: Path, suffix: str) -> Path:
    return file.with_name(file.name + suffix)
