"""Cells: whether the calling code is a notebook's own, and which cell it is.

Nothing here imports IPython. `nbtool.notebook` tells this module about the shell it found; in a
script or a service nobody does, and every question is answered with no.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import inspect
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

_COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


@dataclasses.dataclass(frozen=True, slots=True)
class Shell:
    """What this module needs to know of a kernel.

    Attributes:
        namespace: The globals of the user's cells.
        cell_name: Turns the file name of a cell's code into what people call it: ``"In [3]"``.
        waiting: Entered while a cell waits for a chain.
        background: Told True when the first chain runs on behind its cell, False after the last.
        keep_output: Makes what runs in a Context print and display in the cell that runs now.
    """

    namespace: dict[str, Any]
    cell_name: Callable[[str], str]
    waiting: Callable[[], contextlib.AbstractContextManager[None]] = contextlib.nullcontext
    background: Callable[[bool], object] = bool
    keep_output: Callable[[contextvars.Context], object] = id


_shell: Shell | None = None


def attach(shell: Shell) -> None:
    """Say that this process is a kernel."""
    global _shell  # noqa: PLW0603 - one kernel a process
    _shell = shell


def detach() -> None:
    """Undo `attach`."""
    global _shell  # noqa: PLW0603 - as in `attach`
    _shell = None


def in_kernel() -> bool:
    """Tell whether this process is a kernel."""
    return _shell is not None


def waiting() -> contextlib.AbstractContextManager[None]:
    """Return what a cell enters while it waits for a chain."""
    return _shell.waiting() if _shell is not None else contextlib.nullcontext()


def background(busy: bool) -> None:
    """Tell the kernel whether chains run that no cell waits for."""
    if _shell is not None:
        _shell.background(busy)


def keep_output(context: contextvars.Context) -> None:
    """Let what runs in a Context keep the cell that runs now for its output."""
    if _shell is not None:
        _shell.keep_output(context)


# Which cell the calling code descends from, and which one runs; tasks inherit the first.
_descent: contextvars.ContextVar[object] = contextvars.ContextVar("nbtool_cell", default=None)
_running: object = None


def enter_cell() -> None:
    """Take note, in its own Context, that a cell begins."""
    global _running  # noqa: PLW0603 - one cell runs at a time
    _running = object()
    _descent.set(_running)


def descent() -> object:
    """Return what stands for the cell from which the calling code descends."""
    return _descent.get()


def running_cell() -> object:
    """Return what stands for the cell that runs, or ran last."""
    return _running


def calling_cell() -> str | None:
    """Return the name of the cell whose own code made this call.

    None where it is no cell: a coroutine function between caller and cell means that code runs
    as in a script, inside ``async def main()``; a callback or a thread has no cell below it.
    """
    frame = inspect.currentframe() if _shell is not None else None
    while frame is not None:
        if _is_cell(frame):
            return _shell.cell_name(frame.f_code.co_filename) if _shell is not None else None
        if frame.f_code.co_flags & _COROUTINE:
            return None
        frame = frame.f_back
    return None


def is_below() -> bool:
    """Tell whether a cell is on this very stack: it waits if the caller does."""
    frame = inspect.currentframe() if _shell is not None else None
    while frame is not None:
        if _is_cell(frame):
            return True
        frame = frame.f_back
    return False


def _is_cell(frame: FrameType) -> bool:
    # A cell's code object is called "<module>", in IPython 8.0 to 8.4 "<cell line: 1>".
    is_outermost = frame.f_code.co_name.startswith(("<mod", "<cell"))
    return is_outermost and _shell is not None and frame.f_globals is _shell.namespace
