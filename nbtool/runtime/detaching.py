"""Detaching: a cell that waits ends, and the chain that it waited for goes on.

Nobody waits for a chain's own task, so it is enough to end the waits. All waits of the cell are
ended together: a ``TaskGroup`` in it would cancel the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.errors import NbtoolError
from nbtool.runtime import cells, interrupt

if TYPE_CHECKING:
    from nbtool.runtime.interrupt import Wait


class Detached(NbtoolError):  # noqa: N818 - nothing is wrong
    """End the wait of a cell for a chain that goes on in the background.

    It is an ordinary exception, raised in the waiting cell alone and never inside of a chain.
    """

    code = "detached"

    def _render_traceback_(self) -> list[str]:
        return [f"Detached: {self}"]


def is_waited_for(call: object, descent: object) -> bool:
    """Tell whether the cell that runs waits for a chain.

    Args:
        call: The chain's handle, if it has one.
        descent: Stands for the cell from which the chain descends.
    """
    return any(
        wait.call is call if wait.call is not None else wait.cell is descent
        for wait in _of_the_running_cell()
    )


def release(call: Any, what: str) -> int:
    """End the waits of the running cell, else those for a call.

    Args:
        call: A call whose waiters are released where no cell waits, as in a script.
        what: Which chain goes on, and where it is.

    Returns:
        How many waits were ended.
    """
    released = 0
    for wait in _outermost(_of_the_running_cell()):
        if wait.release is not None:
            released += bool(wait.release(_notice(what)))
            wait.loop.call_soon_threadsafe(bool)  # a signal handler does not wake the selector
    if call is not None and not released:
        released = call.detach(_notice(what))
    return released


def _notice(what: str) -> Detached:
    return Detached(
        f"{what}; it goes on in the background. What stands behind this wait did not run.",
        hint="nbtool.paused() lists the chains that wait; `await` one of them for its result.",
    )


def _of_the_running_cell() -> list[Wait]:
    cell = cells.running_cell()
    return [wait for wait in interrupt.waits() if wait.is_cells or wait.cell is cell]


def _outermost(waits: list[Wait]) -> list[Wait]:
    """Leave out waits inside of a synchronous one: what waits there goes on too."""
    synchronous = [wait for wait in waits if wait.is_cells and wait.call is None]
    return synchronous or waits
