"""Where the disk tier lies."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "NBTOOL_CACHE_DIR"


def default_folder(environ: Mapping[str, str], platform: str) -> Path:
    """Return the folder for a user's cached answers; nothing is made or looked at.

    Args:
        environ: Variables, such as ``os.environ``; ``NBTOOL_CACHE_DIR`` wins.
        platform: As `sys.platform` names it.

    Raises:
        RuntimeError: The user has no home folder.

    Example:
        >>> default_folder({"NBTOOL_CACHE_DIR": "answers"}, "linux").name
        'answers'

    Source:
        XDG Base Directory Specification; Apple's and Microsoft's guides for application caches.
    """
    given = environ.get(VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    if platform == "win32":
        base = environ.get("LOCALAPPDATA")
        return (Path(base) if base else Path.home() / "AppData" / "Local") / "nbtool" / "Cache"
    if platform == "darwin":
        return Path.home() / "Library" / "Caches" / "nbtool"
    base = environ.get("XDG_CACHE_HOME")
    # The specification says that a relative path there is invalid and is to be ignored.
    is_absolute = bool(base) and Path(base).is_absolute()
    return (Path(base) if base and is_absolute else Path.home() / ".cache") / "nbtool"
