# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# ruff: noqa: SLF001 - ipykernel has no public way to serve a message early; `how` looks first
"""Serve widget messages while a cell waits, in kernels that would queue them behind the cell.

ipykernel up to 7.3 serves one message of its main shell at a time: a click is heard after the
cell. While something of ours waits, the loop turns, and such messages are served where they come
in, as the kernel would. Requests to run cells keep their place. From 7.4 on nothing is changed.

What a message calls runs in whatever thread the kernel uses: here in the main one, with subshells
also in others, alternating on 7.4. It should only set flags or ``call_soon_threadsafe``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
from asyncio import events
from contextvars import Context, copy_context
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nbtool.runtime.parked import parked_count

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from comm.base_comm import BaseComm
    from ipykernel.kernelbase import Kernel

Way: TypeAlias = Literal["pump", "re-registered", "native", "none"]

# A page that was reloaded asks the last two before it shows any widget.
_SERVED = {"comm_open", "comm_msg", "comm_close", "comm_info_request", "kernel_info_request"}
_ROUTE = "_reply_subshell_for"
_NO_VARIABLES = Context()


@functools.lru_cache(maxsize=1)
def how(kernel: Kernel | None) -> Way:
    """Say how a kernel's widget messages are served while a cell waits.

    Args:
        kernel: The kernel of this process, started; None where there is none.

    Returns:
        ``"pump"``: before ipykernel 6 queues them. ``"re-registered"``: before 7.0 to 7.3 let
        them wait for a lock. ``"native"``: by the kernel itself. ``"none"``: after the cell.
    """
    shell: Any = kernel
    incoming, _, queue = _shell(shell)
    if not hasattr(incoming, "_recv_callback"):
        return "none"
    if hasattr(queue, "_getters"):
        return "pump"
    if "concurrent" in inspect.signature(shell.dispatch_shell).parameters:
        return "native"
    return "re-registered" if hasattr(shell, "_main_asyncio_lock") else "none"


@contextlib.contextmanager
def serving(kernel: Kernel | None) -> Generator[None]:
    """Have widget messages served while the block lasts, also while a cell runs.

    Uses may nest, overlap and end in any order; the kernel is restored in the loop's turn after the
    last one, so that many short waits in a row cost little. Messages that waited before the first
    one are served too on ipykernel 6, on 7.0 to 7.3 after the cell.
    Nothing is done where `how` says ``"native"`` or ``"none"``, nor off the kernel's own loop.

    Args:
        kernel: The kernel of this process; None where there is none.
    """
    pump = _pump(kernel) if how(kernel) in {"pump", "re-registered"} else None
    if pump is None or events._get_running_loop() is not pump.loop:
        yield
        return
    pump.begin()
    try:
        yield
    finally:
        pump.end()


@contextlib.contextmanager
def subshell_override(comm: BaseComm) -> Generator[None]:
    """Let a subshell serve a comm while a cell *blocks* the loop.

    That kernel sends a comm's messages to the shell that used it last, mostly the blocked one; so
    they go where they were addressed, and what they call runs in that subshell's thread. Nothing
    is done on other kernels, or inside another use.

    Args:
        comm: An open comm, e.g. ``widget.comm``.
    """
    if not hasattr(comm, _ROUTE) or _ROUTE in vars(comm):
        yield
        return

    def as_addressed(_content: object, default: str | None) -> str | None:
        return default

    setattr(comm, _ROUTE, as_addressed)
    try:
        yield
    finally:
        if vars(comm).get(_ROUTE) is as_addressed:
            delattr(comm, _ROUTE)


@functools.cache
def _pump(kernel: Any) -> _Pump:
    return _Pump(kernel)


class _Pump:
    """Take one kernel's messages out of turn and serve them, in the order of their arrival."""

    def __init__(self, kernel: Any) -> None:
        self.loop = kernel.io_loop.asyncio_loop
        self._uses, self._is_open, self._taps = 0, False, contextlib.ExitStack()
        self._kernel = kernel
        self._incoming, self._outgoing, self._queue = _shell(kernel)
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaker: Any = None  # the message in whose name output goes now
        self._before: Any = None  # in whose name it went before

    def begin(self) -> None:
        self._uses += 1
        if not self._is_open:
            self._open()

    def end(self) -> None:
        self._uses -= 1
        if not self._uses:
            self.loop.call_soon(self._close, context=_NO_VARIABLES)

    def _close(self) -> None:
        if self._is_open and not self._uses:
            self._is_open = False
            self._taps.close()

    def _open(self) -> None:
        self._is_open = True
        self._taps.enter_context(_tap(self._incoming, self._takes))
        for _ in range(self._queue.qsize() if self._queue else 0):
            item = self._queue.get_nowait()
            if not self._takes(item[-1][0] if item[-1] else []):
                self._queue.put_nowait(item)

    def _takes(self, frames: list[Any]) -> bool:
        """Serve a message in the next turn of the loop, unless the kernel has to or can do it."""
        parsed = self._parsed(frames) if self._is_busy() else None
        if parsed is None:
            return False
        context = self._context()
        task = self.loop.create_task(self._serve(*parsed), context=context)
        self._tasks.add(task)  # asyncio itself keeps tasks by weak references only
        task.add_done_callback(self._end)
        # What waits inside, parked or awaiting, has not returned by now: its later output goes to
        # the cell. Else the cell would end in the name of a click and never look ended.
        self.loop.call_soon(self._hush, context=context)
        return True

    def _is_busy(self) -> bool:
        if self._queue is None:
            return self._kernel._main_asyncio_lock.locked()
        return not self._queue._getters

    def _parsed(self, frames: list[Any]) -> tuple[list[bytes], Any] | None:
        """Check the signature and parse, as the kernel does; None if it is not to be served."""
        try:
            session = self._kernel.session
            idents, parts = session.feed_identities(frames, copy=False)
            # Parsed without its content it is not noted as seen: the kernel can still take it.
            header = session.deserialize(parts, content=False, copy=False)["header"]
            if header["msg_type"] not in _SERVED:
                return None
            return idents, session.deserialize(parts, copy=False)
        except Exception:  # noqa: BLE001 - a damaged message is the kernel's, which logs it
            return None

    def _context(self) -> Context:
        """Make a context for a message: it knows a parent, but no step of the user's program."""
        if not hasattr(self._kernel, "_main_asyncio_lock"):
            return Context()  # ipykernel 6 keeps the parent for all contexts
        noted: Context | None = getattr(self._kernel, "_shell_context", None)  # from 7.1 on
        return copy_context() if noted is None else noted.copy()

    async def _serve(self, idents: list[bytes], message: Any) -> None:
        """Do what `Kernel.dispatch_shell` does, but leave the cell its signal handler."""
        kernel = self._kernel
        try:
            self._speak(idents, message)
            kernel._publish_status("busy", "shell", parent=message)
            rest = kernel.shell_handlers[message["msg_type"]](self._outgoing, idents, message)
            if inspect.isawaitable(rest):
                await rest
        except Exception:
            kernel.log.exception("Exception in message handler:")
        except (KeyboardInterrupt, SystemExit):
            if parked_count(self.loop):
                raise  # it comes out of a call that waits there: it is meant for the cell
            kernel.log.exception("Interrupted in message handler:")
        finally:
            if self._speaker is message:
                self._hush()
            kernel._publish_status("idle", "shell", parent=message)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost

    def _speak(self, idents: list[bytes], message: Any) -> None:
        """Let output go in the name of a message, until `_hush`."""
        self._hush()
        _flush()
        self._before = (self._kernel._parent_ident["shell"], self._kernel.get_parent("shell"))
        self._speaker = message
        self._kernel.set_parent(idents, message, "shell")

    def _hush(self) -> None:
        if self._speaker is not None:
            _flush()
            self._speaker = None
            self._kernel.set_parent(*self._before, "shell")


@contextlib.contextmanager
def _tap(stream: Any, takes: Callable[[list[Any]], bool]) -> Generator[None]:
    """Look at each message before the kernel gets it."""
    # ipykernel 7's own `set_on_recv_callback` would give all later cells another context.
    before, is_open = stream._recv_callback, True

    def receive(frames: list[Any]) -> Any:
        return None if is_open and takes(frames) else before(frames)

    stream.on_recv(receive, copy=False)
    try:
        yield
    finally:
        is_open = False
        # What somebody has put on top stays, and calls us: then all goes to the kernel.
        if stream._recv_callback is receive and not stream.closed():
            stream.on_recv(before, copy=False)


def _shell(kernel: Any) -> tuple[Any, Any, Any]:
    """Find where the main shell's messages come in, where they go out and where they queue."""
    subshells = getattr(getattr(kernel, "shell_channel_thread", None), "manager", None)
    if subshells is None:
        stream = getattr(kernel, "shell_stream", None)
        return stream, stream, getattr(kernel, "msg_queue", None)
    pair = getattr(subshells, "_shell_channel_to_main", None)
    outgoing = subshells.get_subshell_to_shell_channel_socket(None)
    return getattr(pair, "to_stream", None), outgoing, None


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the user may have put anything there
            stream.flush()
