# ruff: noqa: SLF001 - ipykernel has no public way to take a message out of turn; `how` looks first
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportAttributeAccessIssue=false
"""Serve widget messages while a cell waits, in kernels that would queue them behind the cell.

ipykernel up to 7.3 serves one message of the main shell at a time, so a click on a widget is heard
when the cell has ended. While something of ours waits, the loop below it turns: these messages are
taken out of turn and served there as the kernel would serve them. Requests to run cells keep their
place. From 7.4 on the kernel does all that itself, and nothing is changed.

What a message calls runs in whatever thread the kernel uses: here in the main thread; where there
are subshells also in another, and on 7.4 the two can alternate within a minute. So it should only
set flags or call ``loop.call_soon_threadsafe``.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import sys
import threading
from asyncio import events
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from nbtool.runtime.parked import parked_count

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Generator

    from comm.base_comm import BaseComm
    from ipykernel.kernelbase import Kernel

Way: TypeAlias = Literal["pump", "re-registered", "native", "none"]

# A reloaded page asks the last two before it shows any widget.
_SERVED = {"comm_open", "comm_msg", "comm_close", "comm_info_request", "kernel_info_request"}

_lock = threading.Lock()
_pumps: dict[Kernel, _Pump] = {}


@functools.lru_cache(maxsize=1)
def how(kernel: Kernel | None) -> Way:
    """Say how a kernel's widget messages are served while a cell waits.

    Args:
        kernel: The kernel of this process, started; None where there is none.

    Returns:
        ``"pump"``: taken out of its queue (ipykernel 6). ``"re-registered"``: taken where they
        come in (7.0 to 7.3). ``"native"``: by the kernel itself. ``"none"``: after the cell.
    """
    if kernel is None or getattr(kernel, "io_loop", None) is None:
        return "none"
    if hasattr(kernel, "msg_queue"):
        return "pump"
    if not hasattr(kernel, "_main_asyncio_lock"):
        return "none"
    if "concurrent" in inspect.signature(kernel.dispatch_shell).parameters:
        return "native"
    return "none" if _incoming(kernel) is None else "re-registered"


@contextlib.contextmanager
def serving(kernel: Kernel | None) -> Generator[None]:
    """Have widget messages served while the block lasts, also while a cell runs.

    Uses may nest, overlap and end in any order and thread; the last one restores the kernel.
    Messages that came while a cell ran, but before the first use, are served on ipykernel 6 and
    wait for the end of the cell on 7.0 to 7.3. Where `how` says ``"native"`` or ``"none"``
    nothing is done.

    Args:
        kernel: The kernel of this process; None where there is none.
    """
    if kernel is None or how(kernel) in {"native", "none"}:
        yield
        return
    with _lock:
        pump = _pumps.get(kernel) or _pumps.setdefault(kernel, _Pump(kernel))
        pump.uses += 1
    pump.settle()
    try:
        yield
    finally:
        with _lock:
            pump.uses -= 1
        pump.settle()


@contextlib.contextmanager
def subshell_override(comm: BaseComm) -> Generator[None]:
    """Let the front end's subshell serve a comm while a cell *blocks* the loop (ipykernel 7.4).

    That kernel sends what comes for a comm to the shell that used it last, mostly the main one,
    where it waits for the end of blocking code such as ``time.sleep``. With this it goes where the
    front end addressed it, and what it calls runs in the subshell's thread. Other kernels do not
    redirect, and nothing is done. Of overlapping uses the first to end restores the comm.

    Args:
        comm: An open comm, e.g. ``widget.comm``.
    """
    if not hasattr(comm, "_reply_subshell_for"):
        yield
        return
    changed: Any = _Shadow(comm, "_reply_subshell_for", _as_addressed)
    try:
        yield
    finally:
        changed.lift()


def _as_addressed(_content: object, default: str | None) -> str | None:
    return default


class _Shadow:
    """An attribute of one foreign object, hidden by ours."""

    def __init__(self, owner: Any, name: str, ours: object) -> None:
        self._owner, self._name, self._ours = owner, name, ours
        self._before = {key: value for key, value in vars(owner).items() if key == name}
        setattr(owner, name, ours)

    def lift(self) -> None:
        """Restore it, unless somebody has hidden ours meanwhile."""
        if vars(self._owner).get(self._name) == self._ours:
            delattr(self._owner, self._name)
            for name, value in self._before.items():
                setattr(self._owner, name, value)


class _Pump:
    """Serve messages of one kernel on its own loop, in the order in which they are given."""

    def __init__(self, kernel: Any) -> None:
        self.kernel, self.loop = kernel, kernel.io_loop.asyncio_loop
        self.uses = 0
        self.not_begun = 0  # messages that later ones must not overtake
        self._tap: _QueueTap | _StreamTap | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaker: Any = None  # the message in whose name output goes now
        self._before: tuple[Any, Any] = (b"", {})  # in whose name it went before

    def settle(self) -> None:
        """Switch on or off as the uses demand, in the kernel's own thread."""
        if events._get_running_loop() is self.loop:
            self._settle()
        else:
            with contextlib.suppress(RuntimeError):  # it is closed: the kernel is ending
                self.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        with _lock:
            if self.uses and self._tap is None:
                self._tap = _QueueTap(self) if how(self.kernel) == "pump" else _StreamTap(self)
            elif not self.uses and self._tap is not None:
                self._tap.close()
                self._tap = None

    def takes(self, frames: list[Any]) -> bool:
        """Tell whether a message may be served out of turn; a damaged one is the kernel's."""
        session = self.kernel.session
        try:
            _, parts = session.feed_identities(frames, copy=False)
            # Parsed without its content it is not noted as seen: the kernel can still take it.
            message = session.deserialize(parts, content=False, copy=False)
            session.unpack(message["content"])
        except Exception:  # noqa: BLE001 - whatever is wrong with it, the kernel logs it
            return False
        return message["header"]["msg_type"] in _SERVED

    def serve(self, frames: list[Any]) -> None:
        """Serve a message that it takes, in the next turn of the loop."""
        self.not_begun += 1
        # From 7.1 on the kernel notes the context in which it set a parent last.
        noted = getattr(self.kernel, "_shell_context", None)
        context = copy_context() if noted is None else noted.copy()
        task = self.loop.create_task(self._serve(frames), context=context)
        self._tasks.add(task)
        task.add_done_callback(self._end)
        # What waits inside, parked or awaiting, has not returned by now: its later output goes to
        # the cell. Else the cell would end in the name of a click and never look ended.
        self.loop.call_soon(self._hush, context=context)

    async def _serve(self, frames: list[Any]) -> None:
        self.not_begun -= 1
        kernel = self.kernel
        with self._logged():
            idents, parts = kernel.session.feed_identities(frames, copy=False)
            message = kernel.session.deserialize(parts, copy=False)
            kernel._publish_status("busy", "shell", parent=message)
            try:
                with self._speaking(idents, message):
                    serve = kernel.shell_handlers[message["header"]["msg_type"]]
                    rest = serve(_outgoing(kernel), idents, message)
                    if inspect.isawaitable(rest):
                        await rest
            finally:
                kernel._publish_status("idle", "shell", parent=message)

    def _end(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that asyncio does not report it as lost

    @contextlib.contextmanager
    def _speaking(self, idents: list[bytes], message: Any) -> Generator[None]:
        """Let output go in the name of a message, until the block ends or `_hush` is called."""
        self._hush()
        _flush()
        self._before = (self.kernel._parent_ident["shell"], self.kernel.get_parent("shell"))
        self._speaker = message
        self.kernel.set_parent(idents, message, "shell")
        try:
            yield
        finally:
            if self._speaker is message:
                self._hush()

    def _hush(self) -> None:
        if self._speaker is not None:
            _flush()
            self._speaker = None
            self.kernel.set_parent(*self._before, "shell")

    @contextlib.contextmanager
    def _logged(self) -> Generator[None]:
        """Keep from the loop what served code raises, as the kernel does."""
        try:
            yield
        except Exception:
            self.kernel.log.exception("Exception in message handler:")
        except (KeyboardInterrupt, SystemExit):
            if parked_count(self.loop):
                raise  # it comes out of the call that waits there: it is meant for the cell
            self.kernel.log.exception("Interrupted in message handler:")


class _QueueTap:
    """Take messages out of ipykernel 6's queue, which one task empties."""

    def __init__(self, pump: _Pump) -> None:
        self._pump, self._is_open = pump, True
        self._queue = pump.kernel.msg_queue
        self._put = self._queue.put_nowait
        self._shadow = _Shadow(self._queue, "put_nowait", self.put_nowait)
        earlier: list[Any] = []
        while not self._queue.empty():
            earlier.append(self._queue.get_nowait())
        for item in earlier:
            self.put_nowait(item)

    def put_nowait(self, item: Any) -> None:
        """Stand in for the queue's own."""
        match item:
            case (_, dispatch, (frames,)) if (
                self._is_open
                and getattr(dispatch, "__name__", "") == "dispatch_shell"
                and self._pump.takes(frames)
            ):
                if self._pump.not_begun or not self._is_taken_at_once(item):
                    self._pump.serve(frames)
            case _:
                self._put(item)

    def _is_taken_at_once(self, item: Any) -> bool:
        """Give it to the kernel if that has nothing else to do."""
        if not self._queue.empty():
            return False
        self._put(item)
        if self._queue.empty():
            return True
        self._queue.get_nowait()
        return False

    def close(self) -> None:
        self._is_open = False
        self._shadow.lift()


class _StreamTap:
    """Take messages where the main shell of ipykernel 7 gets them, before it waits for its lock.

    To register `Kernel.shell_main` afresh would give later cells another context.
    """

    def __init__(self, pump: _Pump) -> None:
        self._pump, self._is_open = pump, True
        self._stream = _incoming(pump.kernel)
        self._before = self._stream._recv_callback
        self._stream.on_recv(self.receive, copy=False)

    def receive(self, frames: list[Any]) -> Any:
        """Stand in for the kernel's own callback."""
        is_busy = self._pump.not_begun or self._pump.kernel._main_asyncio_lock.locked()
        if self._is_open and is_busy and self._pump.takes(frames):
            return self._pump.serve(frames)
        return self._before(frames)

    def close(self) -> None:
        self._is_open = False
        if self._stream._recv_callback == self.receive and not self._stream.closed():
            self._stream.on_recv(self._before, copy=False)


def _incoming(kernel: Any) -> Any:
    """Find the stream on which the main shell of ipykernel 7 gets its messages."""
    thread = kernel.shell_channel_thread
    if thread is None:
        return kernel.shell_stream
    return getattr(getattr(thread.manager, "_shell_channel_to_main", None), "to_stream", None)


def _outgoing(kernel: Any) -> Any:
    thread = getattr(kernel, "shell_channel_thread", None)
    if thread is None:
        return kernel.shell_stream
    return thread.manager.get_subshell_to_shell_channel_socket(None)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):  # the user may have put anything there
            stream.flush()
