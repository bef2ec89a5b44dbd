"""One sqlite file of answers: what it looks like, and each thing that is done to it.

Any number of processes may share a file. What to do about errors is decided in `store`.
"""

from __future__ import annotations

import os
import sqlite3
import time
from typing import TYPE_CHECKING

from nbtool.lm.caching.entries import Written, written

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

SCHEMA_VERSION = 1
FILE_NAME = f"answers-{SCHEMA_VERSION}.sqlite3"

_BUSY_S = 0.2  # who is kept out by another process tries again later, and lets readers pass
_USE_IS_NOTED_EVERY_S = 60
_PORTION_BYTES = 4 * 1024 * 1024
_STATEMENTS = (
    """CREATE TABLE answers (
        key TEXT PRIMARY KEY, kind TEXT NOT NULL, body BLOB NOT NULL, used_s INTEGER NOT NULL
    )""",
    "CREATE INDEX answers_by_use ON answers (used_s)",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
)


class OtherSchemaError(sqlite3.DatabaseError):
    """Say that the file was not made by this version of the cache."""


class Database:
    """Hold one connection to a file of answers, which is made where there is none.

    Args:
        file: Where it lies; a folder that is missing is made, for its owner only.

    Raises:
        sqlite3.Error: It cannot be opened, or is no file of ours; or OSError.
    """

    def __init__(self, file: Path) -> None:
        if not file.exists():
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            # sqlite would let all read it. The files that it puts beside this one get its mode.
            os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
        # Another thread closes it before a fork.
        self._connection = sqlite3.connect(
            file, timeout=_BUSY_S, isolation_level=None, check_same_thread=False
        )
        try:
            self._set_up()
        except BaseException:
            self._connection.close()
            raise

    def _set_up(self) -> None:
        is_new = self._pragma("user_version") == 0
        if is_new:
            self._connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # must come first of all
        self._connection.execute("PRAGMA journal_mode = WAL")
        # A power cut may cost the latest answers, and does no other harm.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        if is_new:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                if self._pragma("user_version") == 0:  # else another process has just made it
                    for statement in _STATEMENTS:
                        self._connection.execute(statement)
        version = self._pragma("user_version")
        if version != SCHEMA_VERSION:
            raise OtherSchemaError(f"it has schema {version}, not {SCHEMA_VERSION}")

    def read(self, key: str) -> Written | None:
        """Return an answer; None where there is none, or it is damaged."""
        rows = self._connection.execute("SELECT kind, body FROM answers WHERE key = ?", (key,))
        row = rows.fetchone()
        rows.close()
        return None if row is None else written(*row)

    def save(self, entries: Mapping[str, Written], used: Iterable[str]) -> None:
        """Write answers, and note which others were used; all or nothing."""
        now_s = int(time.time())
        rows = [(key, entry.kind, entry.body, now_s) for key, entry in entries.items()]
        uses = [(now_s, key, now_s - _USE_IS_NOTED_EVERY_S) for key in used]
        self._connection.execute("BEGIN IMMEDIATE")
        with self._connection:
            self._connection.executemany("REPLACE INTO answers VALUES (?, ?, ?, ?)", rows)
            self._connection.executemany(
                "UPDATE answers SET used_s = ? WHERE key = ? AND used_s < ?", uses
            )

    def shrink(self, limit_bytes: float) -> bool:
        """Delete what was used longest ago, where all take more than `limit_bytes`.

        It is done in portions, so that others get their turn between them.

        Returns:
            Whether there may be more to do.
        """
        surplus_bytes = self._used_bytes() - limit_bytes
        oldest = self._oldest(min(surplus_bytes, _PORTION_BYTES)) if surplus_bytes > 0 else []
        if oldest:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:
                self._connection.executemany("DELETE FROM answers WHERE rowid = ?", oldest)
        page_bytes = self._pragma("page_size")
        surplus = self._pragma("page_count") - int(limit_bytes // page_bytes)
        unused = min(surplus, self._pragma("freelist_count"), _PORTION_BYTES // page_bytes)
        if unused > 0:  # the pages of deleted answers would only be used again
            # `execute` would take one step, and each step frees one page.
            self._connection.executescript(f"PRAGMA incremental_vacuum({unused})")
        return bool(oldest) or unused > 0

    def _used_bytes(self) -> int:
        pages = self._pragma("page_count") - self._pragma("freelist_count")
        return pages * self._pragma("page_size")

    def _oldest(self, wanted_bytes: float) -> list[tuple[int]]:
        """Return row ids, those of the longest unused answers that make up so many bytes."""
        rows = self._connection.execute(
            "SELECT rowid, length(key) + length(body) FROM answers ORDER BY used_s, rowid"
        )
        oldest: list[tuple[int]] = []
        for rowid, size_bytes in rows:
            oldest.append((rowid,))
            wanted_bytes -= size_bytes
            if wanted_bytes <= 0:
                break
        rows.close()
        return oldest

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def _pragma(self, name: str) -> int:
        return self._connection.execute(f"PRAGMA {name}").fetchone()[0]
