"""The cache that LMs use now.

``nbtool.cache`` reads and writes the name `cache` of this module, so that configuring, assigning
(``nbtool.cache = MyCache()``) and patching it in a test are one thing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.lm.caching.tiers import DISK_LIMIT_BYTES, MEMORY_MAX_ENTRIES, Cache

if TYPE_CHECKING:
    import os

cache: Cache = Cache()


def cache_in_use() -> Any:
    """Return the cache as it is now; None where somebody took it away."""
    return globals().get("cache")


def configure_cache(
    enable_disk_cache: bool | None = True,
    enable_memory_cache: bool | None = True,
    disk_cache_dir: str | os.PathLike[str] | None = None,
    disk_size_limit_bytes: float | None = DISK_LIMIT_BYTES,
    memory_max_entries: float = MEMORY_MAX_ENTRIES,
    restrict_pickle: bool = False,
    safe_types: list[type[Any]] | None = None,
) -> None:
    """Use another cache from now on, in the whole process.

    Args:
        enable_disk_cache: Whether answers are kept in a file.
        enable_memory_cache: Whether answers are kept in memory. Without either, nothing is
            cached, and identical concurrent calls make a request each.
        disk_cache_dir: Folder of the file; by default ``NBTOOL_CACHE_DIR``, else the user's folder
            for caches, on Linux ``~/.cache/nbtool``.
        disk_size_limit_bytes: Size of the file, in bytes, above which the answers that were written
            or read from disk longest ago are deleted; None for no limit.
        memory_max_entries: Most answers in memory (> 0); ``math.inf`` for no limit.
        restrict_pickle: Accepted for DSPy's sake and ignored: answers are kept as JSON.
        safe_types: As `restrict_pickle`.

    Raises:
        LMConfigurationError: `memory_max_entries` or `disk_size_limit_bytes` is no positive number.

    Example:
        >>> import nbtool
        >>> nbtool.configure_cache(enable_disk_cache=False, memory_max_entries=10_000)
        >>> nbtool.cache
        <Cache: 0 in memory>
        >>> nbtool.configure_cache()

    Source:
        Names, order and defaults as DSPy's function of that name.
    """
    global cache  # noqa: PLW0603 - one cache, swapped whole; see the module
    cache = Cache(
        enable_disk_cache,
        enable_memory_cache,
        disk_cache_dir,
        disk_size_limit_bytes,
        memory_max_entries,
        restrict_pickle,
        safe_types,
    )
