"""Make nbtool at home in a kernel, and undo it: the composition root of notebooks."""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

from nbtool import ownership
from nbtool.notebook import magics, screens
from nbtool.runtime import adapter, cells, clicks, interrupt, outputs
from nbtool.tracing.boundary import current_span

if TYPE_CHECKING:
    from collections.abc import Callable

_IPYTHON_7_CELL = re.compile(r"<ipython-input-(\d+)-")
_undo_waking: list[Callable[[], None]] = []
_saved_idle: list[Any] = []  # the kernel's own idle handler, while ours is in its place


def running_shell() -> Any:
    """Return IPython's shell where a kernel runs it, else None."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def activate(shell: Any) -> None:
    """Make nbtool at home in a kernel; again does nothing.

    Args:
        shell: IPython's shell, with its ``kernel``.
    """
    if cells.in_kernel():
        return
    kernel = shell.kernel
    cells.attach(
        cells.Shell(
            namespace=shell.user_ns,
            cell_name=lambda filename: _cell_name(shell, filename),
            waiting=_waiting(kernel),
            background=lambda busy: _watch_idle(kernel, busy=busy),
            keep_output=outputs.keeper(shell),
        )
    )
    ownership.allow_where(_is_users_own_code)
    shell.events.register("pre_run_cell", _enter_cell)
    loop = _loop_of(kernel)
    if loop is not None:
        adapter.install(loop)
        _wake_on_signals(loop)
        screens.install(shell, loop)
        magics.install(shell)


def _enter_cell(*_: object) -> None:  # IPython may pass what it knows of the cell
    cells.enter_cell()


def _is_users_own_code() -> bool:
    """Tell whether a cell runs, or a task that a cell has started, outside of any call."""
    is_in_shell = threading.current_thread() is threading.main_thread()
    return cells.is_below() or (is_in_shell and current_span() is None)


def _waiting(kernel: Any) -> Callable[[], contextlib.AbstractContextManager[None]]:
    """Return what a cell enters while it waits; nothing where the kernel serves clicks itself."""
    if clicks.how(kernel) in {"native", "none"}:
        return contextlib.nullcontext
    return lambda: clicks.serving(kernel)


def _cell_name(shell: Any, filename: str) -> str:
    """Turn the file name under which IPython compiled a cell into its prompt."""
    counts: dict[str, int] = getattr(shell.compile, "_filename_map", {})  # IPython 8 and later
    by_name = _IPYTHON_7_CELL.match(filename)
    # IPython 7 below ipykernel names cells by their content; its count is the running cell's.
    count = by_name[1] if by_name else counts.get(filename, shell.execution_count)
    return f"In [{count}]"


def restore() -> None:
    """Undo all that nbtool changed in this kernel; calls that run go on.

    Afterwards ``acall()`` starts at its first ``await`` in cells too, and ``asyncio.run`` is
    asyncio's own again. ``%load_ext nbtool`` brings it back.
    """
    adapter.uninstall()
    while _undo_waking:
        _undo_waking.pop()()
    shell = running_shell()
    if shell is not None:
        _watch_idle(shell.kernel, busy=False)
        outputs.release(shell)
        with contextlib.suppress(ValueError):  # it is not there
            shell.events.unregister("pre_run_cell", _enter_cell)
        screens.uninstall(shell)
        magics.uninstall(shell)
    ownership.allow_no_more(_is_users_own_code)
    cells.detach()


def _loop_of(kernel: Any) -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:  # imported in a thread
        return getattr(getattr(kernel, "io_loop", None), "asyncio_loop", None)


def _wake_on_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Let a signal wake a quiet loop: ipykernel's own interrupt does not (ipykernel#881).

    What `loop.add_signal_handler` does, which would take the signal away from ipykernel.
    """
    waker: Any = getattr(loop, "_csock", None)
    if waker is None:
        return
    with contextlib.suppress(ValueError):  # not in the main thread
        before = signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
        if before != -1:  # somebody has one: theirs stays
            signal.set_wakeup_fd(before)
            return
        _undo_waking.append(lambda: _stop_waking(waker.fileno()))


def _stop_waking(number: int) -> None:
    with contextlib.suppress(ValueError):
        now = signal.set_wakeup_fd(-1)
        if now not in {-1, number}:
            signal.set_wakeup_fd(now)


def _watch_idle(kernel: Any, *, busy: bool) -> None:
    """Let an interrupt stop blocking code of a background chain while no cell runs.

    At idle ipykernel ignores the signal: after each message it puts back the handler that it keeps
    in this attribute, of which there is no public form (6.17 to 7.4).
    """
    if not hasattr(kernel, "saved_sigint_handler"):
        return
    if busy and not _saved_idle:
        _saved_idle.append(kernel.saved_sigint_handler)
        kernel.saved_sigint_handler = interrupt.on_idle_sigint
    elif not busy and _saved_idle:
        before = _saved_idle.pop()
        if kernel.saved_sigint_handler is interrupt.on_idle_sigint:
            kernel.saved_sigint_handler = before
        if signal.getsignal(signal.SIGINT) is interrupt.on_idle_sigint:
            signal.signal(signal.SIGINT, before)


def load_ipython_extension(shell: Any) -> None:
    """Do what ``%load_ext nbtool`` asks for."""
    if getattr(shell, "kernel", None) is not None:
        activate(shell)


def unload_ipython_extension(shell: Any) -> None:  # noqa: ARG001 - IPython passes it
    """Do what ``%unload_ext nbtool`` asks for."""
    restore()
