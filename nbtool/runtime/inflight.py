"""The root calls that run in this process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.runtime import cells, forking

if TYPE_CHECKING:
    from nbtool.runtime.call import Call

_calls: dict[int, Call[Any]] = {}  # by identity; keeps a call alive whose handle was dropped
forking.in_child(_calls.clear)  # those of the parent


def add(call: Call[Any]) -> None:
    """Take up a root call that starts."""
    _calls[id(call)] = call
    if len(_calls) == 1:
        cells.background(True)


def discard(call: Call[Any]) -> None:
    """Forget a call that has ended; nothing happens where it was not taken up."""
    if _calls.pop(id(call), None) is not None and not _calls:
        cells.background(False)


def running() -> list[Call[Any]]:
    """Return the root calls that run in this process, the oldest first.

    Example:
        >>> import nbtool
        >>> nbtool.running()
        []
    """
    return list(_calls.values())


def stop() -> int:
    """Cancel every root call that runs, wherever it was started.

    With no cell running, a kernel's interrupt button does nothing; this does.

    Returns:
        How many were told to stop.
    """
    return sum(call.cancel() for call in running())
