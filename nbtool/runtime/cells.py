"""Cells: whether the calling code is a notebook's own, and which cell it is.

Nothing here imports IPython. `nbtool.notebook` tells this module about the shell it found; in a
script or a service nobody does, and every question is answered with no.
"""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE

_namespace: dict[str, Any] | None = None
_cell_name: Callable[[], str] = lambda: ""  # noqa: E731 - a seam with a default


def attach(namespace: dict[str, Any], cell_name: Callable[[], str]) -> None:
    """Say that this process is a kernel.

    Args:
        namespace: The globals of the user's cells.
        cell_name: Returns what the running cell is called, e.g. ``"In [3]"``.
    """
    global _namespace, _cell_name
    _namespace, _cell_name = namespace, cell_name


def detach() -> None:
    """Undo `attach`."""
    global _namespace, _cell_name
    _namespace, _cell_name = None, lambda: ""


def in_kernel() -> bool:
    """Tell whether this process is a kernel."""
    return _namespace is not None


def running_cell() -> str:
    """Return what the running cell is called; empty outside a kernel."""
    return _cell_name()


def at_cell_level() -> bool:
    """Tell whether the caller is a cell's own code, or plain functions that it called.

    A coroutine function between caller and cell means no: inside ``async def main()`` code runs
    as it does in a script. So does a callback or a thread, which has no cell below it.
    """
    if _namespace is None:
        return False
    frame = inspect.currentframe()
    while frame is not None:
        # A cell's code object is called "<module>", in IPython 8.0 to 8.4 "<cell line: 1>".
        if frame.f_globals is _namespace and frame.f_code.co_name.startswith(("<mod", "<cell")):
            return True
        if frame.f_code.co_flags & _COROUTINE:
            return False
        frame = frame.f_back
    return False
