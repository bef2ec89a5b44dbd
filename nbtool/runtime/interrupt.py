"""The one place that decides what Ctrl-C and a kernel's interrupt button do.

In a script Python's own rules hold and nothing is installed. In a kernel a cell that waits for a
chain installs one handler for as long as it waits; nested waits inside the chain install nothing,
or the handler of a wait that ended out of order would stay behind and end the kernel.

The first interrupt stops blocking code of a chain on the spot (KeyboardInterrupt below a boundary,
which `traced` and `guarded` take up), else it cancels what the cell waits for. The second one
raises where it strikes. Afterwards the handler that was there before is put back, unless somebody
else has set one meanwhile.

Waits of other tasks are *companions*: they may belong to the cell (``await gather(...)``) or to an
earlier one. With them alone the handler that was there before decides what ends, and ours only
stops blocking code and wakes the loop.
"""

from __future__ import annotations

import _weakrefset
import asyncio
import contextlib
import importlib
import inspect
import signal
import threading
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from nbtool.errors import ChainExitedError
from nbtool.runtime import cells, forking, parked, waking
from nbtool.runtime.outcome import guarded, root_task
from nbtool.tracing.boundary import current_span, traced, traced_inline

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# What signal.py wraps: turning handlers into enums would cost 3 us a call.
_signal: Any = importlib.import_module("_signal")
_OURS = (str(Path(__file__).parent.parent), str(Path(asyncio.__file__).parent))
_STDLIB = str(Path(contextlib.__file__).parent)
_SIGINT = int(signal.SIGINT)
_SWALLOWING = (str(Path(weakref.__file__)), str(Path(_weakrefset.__file__)))
_BOUNDARIES = {traced.__code__, guarded.__code__}


class Interrupted(KeyboardInterrupt):
    """End a cell whose chain was interrupted; notebooks show it in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


class InterruptedWait(asyncio.CancelledError):
    """End the ``await`` of a cell that was interrupted, in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"KeyboardInterrupt: {self}"]


class Stopped(asyncio.CancelledError):
    """End whoever waits for a call that was stopped, in one line."""

    def _render_traceback_(self) -> list[str]:
        return [f"CancelledError: {self}"]


def as_task_may_raise(error: BaseException) -> BaseException:
    """Turn what would end a kernel, raised by a task, into something else.

    On a cell's own stack, and below the guard of a chain, everything may be raised.
    """
    fatal = isinstance(error, KeyboardInterrupt | SystemExit)
    if not fatal or not cells.in_kernel() or cells.is_below() or _is_guarded():
        return error
    if isinstance(error, SystemExit):
        return ChainExitedError(
            f"A chain called sys.exit({error.code!r}) in a task of this kernel.",
            hint="Raise an ordinary exception.",
        )
    _end_rest_of_chain()
    return InterruptedWait(str(error) or "The chain was cancelled.")


def _is_guarded() -> bool:
    frame = inspect.currentframe()
    while frame is not None and frame.f_code is not guarded.__code__:
        frame = frame.f_back
    return frame is not None


class Wait:
    """Let interrupts end a wait for a chain, while a ``with`` block of it lasts.

    Nothing is done outside a kernel, off the main thread (signals arrive there), or inside a
    chain.

    Args:
        loop: The loop that drives the chain.
        cancel: Cancels what is waited for; called on that loop.
        passes_on: Whether the handler that was there before shall act instead: a kernel's own one
            ends the ``await`` of a cell.
        release: Ends the wait with an error, and leaves the chain alone; None: it cannot be.
        call: The call that is waited for; None for whatever else.

    Attributes:
        cell: Stands for the cell that the waiting code descends from.
        is_cells: Whether a cell itself waits, and no task of it.
        hits: How many interrupts have struck since the cell began to wait.
    """

    # No generator makes this a context manager, for each synchronous call in a cell is one.
    __slots__ = (
        "_serving", "call", "cancel", "cell", "hits", "is_cells", "loop", "passes_on", "release",
    )  # fmt: skip

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        cancel: Callable[[], object],
        passes_on: bool = False,
        release: Callable[[Exception], object] | None = None,
        call: object = None,
    ) -> None:
        self.loop, self.cancel, self.passes_on = loop, cancel, passes_on
        self.release, self.call = release, call
        self.cell: object = None
        self.is_cells = False
        self.hits = 0
        self._serving: contextlib.AbstractContextManager[None] | None = None

    def __enter__(self) -> Self:
        if not cells.in_kernel() or not _is_main_thread() or current_span() is not None:
            return self
        self.is_cells = cells.is_below()
        self.cell = cells.descent()
        _install()
        if not _waits:
            _wake(self.loop)
        _waits.append(self)
        self._serving = cells.waiting()
        self._serving.__enter__()
        return self

    def __exit__(self, *raised: object) -> None:
        if self._serving is None:
            return
        self._serving.__exit__(None, None, None)
        _waits.remove(self)
        if not _waits:
            _woken[0].__exit__()
            _restore()


_waits: list[Wait] = []
_woken: list[waking.WokenBySignals] = []
_previous: Any = None
_instead: Callable[[], bool] = bool
forking.in_child(_waits.clear)


def waits() -> list[Wait]:
    """Return the waits outside of any chain, the oldest first."""
    return list(_waits)


def ask_first(instead: Callable[[], bool]) -> None:
    """Let somebody else take an interrupt that would cancel what the cell waits for.

    Args:
        instead: Called in the signal handler; returns whether it has taken it.
    """
    global _instead  # noqa: PLW0603 - there is one handler a process
    _instead = instead


def _is_main_thread() -> bool:
    return threading.get_ident() == threading.main_thread().ident


def _wake(loop: asyncio.AbstractEventLoop) -> None:
    _woken[:] = [waking.WokenBySignals(loop)]
    _woken[0].__enter__()


def watch() -> None:
    """Let interrupts stop a chain's blocking code until the cell has ended.

    The kernel puts back its own handler then.
    """
    if cells.in_kernel() and _is_main_thread():
        _install()


def _install() -> None:
    """Put our handler in front, unless no cell runs: the kernel would keep it as its own."""
    global _previous  # noqa: PLW0603 - there is one handler a process
    current = _signal.getsignal(_SIGINT)
    if current not in {_on_sigint, on_idle_sigint, signal.SIG_IGN}:
        _previous = current
        _signal.signal(_SIGINT, _on_sigint)


def _restore() -> None:
    global _previous
    previous, _previous = _previous, None
    if _signal.getsignal(_SIGINT) is _on_sigint:
        _signal.signal(_SIGINT, signal.SIG_DFL if previous is None else previous)


def _on_sigint(number: int, frame: FrameType | None) -> None:
    of_cell = [wait for wait in _waits if wait.is_cells]
    for wait in of_cell:
        wait.hits += 1
    if is_in_chain(frame):
        has_root = _end_rest_of_chain()
        if not has_root and not cells.is_below():  # in a child task of what the cell awaits
            _end_waits(of_cell)
        if not of_cell:
            _pass_on(number, frame)
        raise KeyboardInterrupt
    if _instead():
        return
    if any(wait.hits > 1 for wait in of_cell) and parked.is_stepping(frame):
        raise KeyboardInterrupt  # it goes to the oldest parked caller, not to the kernel's loop
    _end_waits(of_cell)
    is_left = any(wait.passes_on for wait in of_cell) and not _is_plain()
    if not of_cell or is_left:
        _pass_on(number, frame)


def _end_waits(of_cell: list[Wait]) -> None:
    for wait in of_cell:
        if not wait.passes_on or _is_plain():
            # At once, as asyncio's own handler does: tasks that have not begun never begin then,
            # while in a callback it would be behind all that they do.
            wait.cancel()
            wait.loop.call_soon_threadsafe(_nothing)


def _is_plain() -> bool:
    """Tell whether the handler before ours raises where it strikes, which would break a wait."""
    return _previous is signal.default_int_handler


def _pass_on(number: int, frame: FrameType | None) -> None:
    for wait in _waits:
        # ipykernel's handler does not wake the selector (ipykernel#881): on a quiet loop the
        # interrupt would wait for the next event.
        wait.loop.call_soon_threadsafe(_nothing)
    if callable(_previous):
        _previous(number, frame)


def _end_rest_of_chain() -> bool:
    """Cancel the chain in a child task of which blocking code is stopped; False: it has no root.

    What is struck in the root itself ends by the KeyboardInterrupt, and may clean up in peace.
    """
    reference = root_task.get()
    root = reference() if reference is not None else None
    if root is None:
        return False
    loop = root.get_loop()
    if asyncio.current_task(loop) is not root:
        loop.call_soon_threadsafe(root.cancel)
    return True


def _nothing() -> None: ...


def is_in_chain(frame: FrameType | None) -> bool:
    """Tell whether a frame is a chain's own blocking code.

    Args:
        frame: The innermost frame. In code of asyncio or of ours, and in what they call of the
            standard library, it is never raised: that would break what they keep.
    """
    inner = frame
    while inner is not None and _is_stdlib(inner.f_code.co_filename):
        inner = inner.f_back
    if inner is None or inner.f_code.co_filename.startswith(_OURS):
        return False
    while frame is not None:
        if _swallows(frame):
            return False
        below = frame.f_back
        # `traced_inline` raises it again, which only what lies below may take up.
        is_inline = below is not None and below.f_code is traced_inline.__code__
        if frame.f_code in _BOUNDARIES and not is_inline:
            return True
        frame = below
    return False


def _swallows(frame: FrameType) -> bool:
    """Tell whether Python drops what is raised here, as in finalizers."""
    return frame.f_code.co_name == "__del__" or frame.f_code.co_filename in _SWALLOWING


def _is_stdlib(file: str) -> bool:
    if file.startswith("<frozen"):
        return True
    return file.startswith(_STDLIB) and not file.startswith(_OURS) and "site-packages" not in file


def on_idle_sigint(_number: int, frame: FrameType | None) -> None:
    """Stop blocking code of a background chain while no cell runs; do nothing else."""
    if is_in_chain(frame):
        _end_rest_of_chain()
        raise KeyboardInterrupt
