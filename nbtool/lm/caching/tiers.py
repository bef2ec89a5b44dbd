"""`Cache`: memory first, then disk."""

from __future__ import annotations

import logging
import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtool.errors import LMConfigurationError
from nbtool.lm.caching.disk import Disk
from nbtool.lm.caching.entries import Entry, Written, entry_of
from nbtool.lm.caching.folder import VARIABLE, default_folder
from nbtool.lm.caching.keys import key_of
from nbtool.lm.caching.memory import Memory
from nbtool.runtime.door import run

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_log = logging.getLogger("nbtool")

DISK_LIMIT_BYTES = 30_000_000_000
MEMORY_MAX_ENTRIES = 1_000_000


class Cache:
    """Keep answers by what was asked, in memory and on disk.

    Values are copied when they are put in and when they are got out. What has a JSON form goes to
    disk, and comes back as dicts and lists, an LM's response as an object that reads like it; any
    other value that can be copied is kept in memory only. Nothing is pickled.

    Several processes may share a folder. No loop ever waits for the disk. A file that is damaged
    is moved aside, and where nothing can be written there is memory alone; either is logged once.

    A subclass may define another ``cache_key``, say one that looks at the messages alone.

    Args:
        enable_disk_cache: Whether answers are kept in a file.
        enable_memory_cache: Whether answers are kept in memory.
        disk_cache_dir: Folder of the file; by default ``NBTOOL_CACHE_DIR``, else the user's folder
            for caches. Neither folder nor file is made before the first answer is written.
        disk_size_limit_bytes: Size of the file, in bytes, above which the answers that were written
            or read from disk longest ago are deleted; None for no limit.
        memory_max_entries: Most answers in memory (> 0); ``math.inf`` for no limit.
        restrict_pickle: Accepted for DSPy's sake and ignored: there is no pickle to restrict.
        safe_types: As `restrict_pickle`.

    Raises:
        LMConfigurationError: `memory_max_entries` or `disk_size_limit_bytes` is no positive number.

    Example:
        >>> cache = Cache(enable_disk_cache=False)
        >>> cache.put({"question": "Capital of France?"}, "Paris")
        >>> cache.get({"question": "Capital of France?"})
        'Paris'

    Source:
        Arguments, defaults and methods as DSPy's class of that name.
    """

    def __init__(
        self,
        enable_disk_cache: bool | None = True,
        enable_memory_cache: bool | None = True,
        disk_cache_dir: str | os.PathLike[str] | None = None,
        disk_size_limit_bytes: float | None = DISK_LIMIT_BYTES,
        memory_max_entries: float = MEMORY_MAX_ENTRIES,
        restrict_pickle: bool = False,  # noqa: ARG002 - see the docstring
        safe_types: list[type[Any]] | None = None,  # noqa: ARG002 - see the docstring
    ) -> None:
        _check(memory_max_entries, disk_size_limit_bytes)
        self.enable_disk_cache = bool(enable_disk_cache)
        self.enable_memory_cache = bool(enable_memory_cache)
        given = disk_cache_dir
        self._given_folder = None if given is None else Path(given).expanduser().absolute()
        self._limit_bytes = math.inf if disk_size_limit_bytes is None else disk_size_limit_bytes
        self._known_disk: Disk | None = None
        self.memory_cache = Memory(memory_max_entries)

    # -- by request ----------------------------------------------------------------------------

    def cache_key(
        self,
        request: Mapping[str, Any],
        ignored_args_for_cache_key: Collection[str] | None = None,
    ) -> str:
        """Return the key of a request: a SHA-256 of its canonical JSON.

        Args:
            request: Arguments by name.
            ignored_args_for_cache_key: Names that are left out.

        Raises:
            Exception: Some value has no JSON form; such a request is not cached.
        """
        return key_of(request, ignored_args_for_cache_key or ())

    def get(
        self,
        request: Mapping[str, Any],
        ignored_args_for_cache_key: Collection[str] | None = None,
    ) -> Any:
        """Return a copy of what was put in for a request, from synchronous code.

        Args:
            request: Arguments by name.
            ignored_args_for_cache_key: Names that do not count.

        Returns:
            None where there is nothing. A response has ``cache_hit=True`` and an empty ``usage``.
        """
        key = self.key_or_none(request, ignored_args_for_cache_key)
        entry = None if key is None else self.recall(key) or run(self.fetch(key))
        return None if entry is None else entry.read()

    async def aget(
        self,
        request: Mapping[str, Any],
        ignored_args_for_cache_key: Collection[str] | None = None,
    ) -> Any:
        """Return a copy of what was put in for a request; see `get`."""
        key = self.key_or_none(request, ignored_args_for_cache_key)
        entry = await self.fetch(key) if key is not None else None
        return None if entry is None else entry.read()

    def put(
        self,
        request: Mapping[str, Any],
        value: Any,
        ignored_args_for_cache_key: Collection[str] | None = None,
        enable_memory_cache: bool = True,
    ) -> None:
        """Keep a copy of a value for a request; the disk is written to a little later.

        Args:
            request: Arguments by name; nothing of it is stored but the key.
            value: What to keep. None, and a response without choices, are not kept.
            ignored_args_for_cache_key: Names that do not count.
            enable_memory_cache: False keeps it on disk only.
        """
        key = self.key_or_none(request, ignored_args_for_cache_key)
        entry = entry_of(value) if key is not None else None
        if key is not None and entry is not None:
            self.keep(key, entry, in_memory=enable_memory_cache)

    def key_or_none(
        self, request: Mapping[str, Any], ignored: Collection[str] | None = None
    ) -> str | None:
        """Return the key of a request; None where it has none, or nothing is kept at all."""
        if not (self.enable_memory_cache or self.enable_disk_cache):
            return None
        try:
            return self.cache_key(request, ignored)
        except Exception as error:  # noqa: BLE001 - a value without a JSON form, or a user's model or `cache_key`
            _say_once(f"A request is not cached: {type(error).__name__}: {error}")
            return None

    # -- by key --------------------------------------------------------------------------------

    def recall(self, key: str) -> Entry | None:
        """Return what memory keeps under a key."""
        return self.memory_cache.get(key) if self.enable_memory_cache else None

    async def fetch(self, key: str) -> Entry | None:
        """Return what is kept under a key; what is on disk is in memory from then on."""
        entry = self.recall(key)
        if entry is not None or self._disk is None:
            return entry
        entry = await self._disk.read(key)
        if entry is not None and self.enable_memory_cache:
            self.memory_cache.put(key, entry)
        return entry

    def keep(self, key: str, entry: Entry, *, in_memory: bool = True) -> None:
        """Keep an entry under a key."""
        if in_memory and self.enable_memory_cache:
            self.memory_cache.put(key, entry)
        if isinstance(entry, Written) and self._disk is not None:
            self._disk.write(key, entry)

    def __contains__(self, key: str) -> bool:
        return run(self.fetch(key)) is not None

    # -- the tiers -----------------------------------------------------------------------------

    @property
    def disk_cache_dir(self) -> str | None:
        """Folder of the file; None where there is no disk tier."""
        return None if self._disk is None else str(self._disk.file.parent)

    @property
    def _disk(self) -> Disk | None:
        # Not before it is needed: NBTOOL_CACHE_DIR may be set in a cell, after the import. And no
        # `cached_property`: in Python 3.11 it has a lock, which a fork may leave taken.
        if self._known_disk is None and self.enable_disk_cache:
            try:
                folder = self._given_folder or default_folder(os.environ, sys.platform)
                self._known_disk = Disk(folder, self._limit_bytes)
            except RuntimeError as error:  # no home
                self.enable_disk_cache = False
                _log.warning("Answers are cached in memory only: %s. Set %s.", error, VARIABLE)
        return self._known_disk if self.enable_disk_cache else None

    def reset_memory_cache(self) -> None:
        """Forget what is in memory; what is on disk stays."""
        self.memory_cache.clear()

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until everything is written to disk, from synchronous code.

        The end of the program does so too, for a second at most.

        Args:
            timeout_s: Longest wait, in seconds.

        Returns:
            False where it took longer.
        """
        return self._disk is None or self._disk.flush(timeout_s)

    def __repr__(self) -> str:
        memory = f"{len(self.memory_cache):,} in memory" if self.enable_memory_cache else ""
        disk = f"disk {str(self._disk.file)!r}" if self._disk is not None else ""
        return f"<Cache: {', '.join(filter(None, (memory, disk))) or 'off'}>"


def _check(memory_max_entries: Any, disk_size_limit_bytes: Any) -> None:
    if memory_max_entries is None:
        raise LMConfigurationError(
            "`memory_max_entries` cannot be None.", hint="Use `math.inf` for no limit."
        )
    if not _is_positive(memory_max_entries):
        raise LMConfigurationError(
            f"`memory_max_entries` must be a positive number, but received {memory_max_entries!r}.",
            hint="Use `enable_memory_cache=False` to keep nothing in memory.",
        )
    if disk_size_limit_bytes is not None and not _is_positive(disk_size_limit_bytes):
        raise LMConfigurationError(
            "`disk_size_limit_bytes` must be a positive number of bytes or None, but received "
            f"{disk_size_limit_bytes!r}.",
            hint="Use `enable_disk_cache=False` to keep nothing on disk.",
        )


def _is_positive(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


_said: set[str] = set()


def _say_once(text: str) -> None:
    if text not in _said and len(_said) < 100:  # noqa: PLR2004 - a text may hold a user's value
        _said.add(text)
        _log.debug("%s", text)
