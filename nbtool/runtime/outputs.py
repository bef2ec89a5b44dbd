# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# ruff: noqa: SLF001 - ipykernel has no public way to say whose output it is; `install` looks first
"""Send a chain's output to the cell that started it, in kernels that forget which one that was.

ipykernel 7 keeps the cell to which output goes in a ContextVar, which a chain's task inherits, and
nothing is changed there. ipykernel 6 keeps one for all: what a chain displays goes to whichever
cell runs by then, and up to 6.17 what it prints too. There a chain remembers its cell itself.
"""

from __future__ import annotations

import sys
import threading
from contextvars import Context, ContextVar
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable

Header: TypeAlias = "dict[str, Any]"  # the header of the message that asked to run the cell


class _Home:
    """Be one cell's outputs: what a chain of it writes and shows while another cell runs."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self._publisher: Any = None
        self._streams: dict[str, _Stream] = {}

    def publisher(self, original: Any) -> Any:
        """Return what shows things in this cell, made as the kernel's own one."""
        if self._publisher is None:
            self._publisher = type(original)(
                session=original.session,
                pub_socket=original.pub_socket,
                _thread_local=original._thread_local,  # holds the hooks of those who capture
            )
            self._publisher.parent_header = self.header
        return self._publisher

    def stream(self, original: Any) -> _Stream:
        """Return what writes into this cell."""
        return self._streams.setdefault(original.name, _Stream(original, self.header))


class _Stream:
    """Collect what chains of a cell write to one stream, and send it in the name of that cell."""

    def __init__(self, original: Any, header: Header) -> None:
        self._original, self._header = original, header
        self._pieces: list[str] = []
        self._lock = threading.Lock()

    def write(self, text: str) -> int:
        with self._lock:
            self._pieces.append(text)
            is_first = len(self._pieces) == 1
        if is_first:  # as often as the kernel itself sends
            loop, interval_s = self._original._io_loop, self._original.flush_interval
            self._original.pub_thread.schedule(lambda: loop.call_later(interval_s, self._send))
        return len(text)

    def flush(self) -> None:
        self._original.pub_thread.schedule(self._send)

    def _send(self) -> None:
        """Send what there is; in the thread that owns the socket."""
        with self._lock:
            text, self._pieces = "".join(self._pieces), []
        if text:
            out, content = self._original, {"name": self._original.name, "text": text}
            out.session.send(
                out.pub_thread, "stream", content=content, parent=self._header, ident=out.topic
            )


_home: ContextVar[_Home | None] = ContextVar("nbtool_output_home", default=None)


def keeper(shell: Any) -> Callable[[Context], None]:
    """Return what lets a Context keep the cell that runs now for its output.

    Args:
        shell: IPython's shell in a kernel.

    Returns:
        A function of a Context. It does nothing where the kernel itself keeps the cell.
    """
    if not _forgets(shell.display_pub):
        return _leave
    latest = _Home({})

    def keep(context: Context) -> None:
        nonlocal latest
        publisher = shell.display_pub
        if not _forgets(publisher):
            return  # somebody captures output, and gets it whichever cell it is of
        if publisher.parent_header is not latest.header:
            latest = _Home(publisher.parent_header)
        # Each time: IPython 9 takes away at the end of a cell what was put on a stream in it.
        _route(publisher)
        context.run(_home.set, latest)

    return keep


def home_header(shell: Any) -> Header:
    """Return the header of the cell to which the calling code's output goes."""
    home = _home.get()
    return home.header if home is not None else shell.display_pub.parent_header


def release(shell: Any) -> None:
    """Undo what a `keeper` has changed."""
    for owner in (shell.display_pub, sys.stdout, sys.stderr):
        for name, value in list(vars(owner).items()):
            if isinstance(value, _Routed):
                delattr(owner, name)


def _leave(_: Context) -> None: ...


def _forgets(output: Any) -> bool:
    """Tell whether an output of a kernel keeps one header for all contexts."""
    return hasattr(output, "parent_header") and not hasattr(output, "_parent_header")


class _Routed:
    """Be a method of a kernel's output that asks first whose output it is.

    Args:
        owner: Whose method it is.
        name: Its name.
        at_home: Does the same in another cell than the one that runs.
    """

    def __init__(self, owner: Any, name: str, at_home: Callable[..., Any]) -> None:
        self._owner, self._original, self._at_home = owner, getattr(owner, name), at_home

    def __call__(self, *args: Any, **options: Any) -> Any:
        home = _home.get()
        if home is None or home.header["msg_id"] == self._owner.parent_header.get("msg_id"):
            return self._original(*args, **options)
        return self._at_home(home, *args, **options)


def _route(publisher: Any) -> None:
    def publish(home: _Home, *args: Any, **options: Any) -> None:
        home.publisher(publisher).publish(*args, **options)

    def clear_output(home: _Home, *args: Any, **options: Any) -> None:
        home.publisher(publisher).clear_output(*args, **options)

    _put(publisher, "publish", publish)
    _put(publisher, "clear_output", clear_output)
    for out in (sys.stdout, sys.stderr):
        if _forgets(out) and hasattr(out, "pub_thread"):
            _route_stream(out)


def _route_stream(out: Any) -> None:
    send_all = out.flush

    def write(home: _Home, text: str) -> int:
        return home.stream(out).write(text)

    def flush(home: _Home) -> None:
        home.stream(out).flush()
        send_all()  # waits until both were sent

    _put(out, "write", write)
    _put(out, "flush", flush)


def _put(owner: Any, name: str, at_home: Callable[..., Any]) -> None:
    if not isinstance(vars(owner).get(name), _Routed):
        setattr(owner, name, _Routed(owner, name, at_home))
