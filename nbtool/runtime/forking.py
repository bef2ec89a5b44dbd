"""Loops of the process that forked this one: they look as if they ran, and never go on."""

from __future__ import annotations

import os
import sys
import weakref
from asyncio import events
from typing import TYPE_CHECKING

from nbtool.errors import LoopClosedError

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

_is_child = False
_forking: asyncio.AbstractEventLoop | None = None
_of_parent: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()


def stands_still(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether a loop ran when this process was forked off, in the parent.

    Args:
        loop: Any event loop.
    """
    if not _is_child or not loop.is_running():
        return False
    thread: int | None = getattr(loop, "_thread_id", None)  # there is no public name
    gone = thread is not None and thread not in sys._current_frames()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as above
    return gone or loop in _of_parent


def refused(awaitable: object) -> LoopClosedError:
    """Make the error of an awaitable whose loop stayed in the parent."""
    return LoopClosedError(
        f"{awaitable!r} belongs to a loop of the process that forked this one, so it will never be "
        "done here.",
        hint="Start it again in this process.",
    )


def in_child(forget: Callable[[], object]) -> None:
    """Have something forgotten in each child that this process forks off."""
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=forget)


def _before() -> None:
    global _forking  # noqa: PLW0603 - from one hook to the next
    _forking = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none


def _in_child() -> None:
    global _is_child  # noqa: PLW0603 - as in `_before`
    _is_child = True
    if _forking is not None:
        _of_parent.add(_forking)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
