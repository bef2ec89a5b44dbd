"""A signal wakes the loop that the main thread runs, wherever it finds that thread.

Python only notes a signal; the handler runs when the main thread next runs Python code. A thread
that is put aside on its way into ``select()`` sleeps there nevertheless, and Ctrl-C does nothing
until something else happens. `signal.set_wakeup_fd` closes that gap: the note is also a byte that
``select()`` sees.
"""

from __future__ import annotations

import contextlib
import importlib
import socket
import threading
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import asyncio

# What signal.py wraps with enums, for which a door that opens in 25 us has no time.
_signal: Any = importlib.import_module("_signal")
_NOBODYS = -1
_CHUNK_BYTES = 4_096


class WokenBySignals:
    """Let signals wake a loop while a ``with`` block lasts.

    Nothing is done off the main thread, where somebody else has set a descriptor (uvloop, asyncio's
    own signal handlers), or where the loop cannot watch one (Windows' Proactor sets its own).

    Args:
        loop: The loop that this thread runs.
    """

    __slots__ = ("_loop", "_number")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._number = _NOBODYS

    def __enter__(self) -> None:
        if threading.get_ident() != threading.main_thread().ident:
            return
        number = _bells.get(self._loop)
        if number is None:
            number = _bells[self._loop] = _hang_up(self._loop)
        if number == _NOBODYS:
            return
        before = _signal.set_wakeup_fd(number, warn_on_full_buffer=False)
        if before == _NOBODYS:
            self._number = number
        else:
            _signal.set_wakeup_fd(before)

    def __exit__(self, *raised: object) -> None:
        if self._number != _NOBODYS:
            _take_away(self._number)


# What a signal writes to, by the loop that listens.
_bells: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, int] = weakref.WeakKeyDictionary()


def _hang_up(loop: asyncio.AbstractEventLoop) -> int:
    ours, signals = socket.socketpair()
    ours.setblocking(False)
    signals.setblocking(False)
    try:
        loop.add_reader(ours.fileno(), _read_away, ours)
    except NotImplementedError:
        _close(ours, signals)
        return _NOBODYS
    weakref.finalize(loop, _close, ours, signals)
    return signals.fileno()


def _read_away(ours: socket.socket) -> None:
    with contextlib.suppress(BlockingIOError):
        ours.recv(_CHUNK_BYTES)


def _close(ours: socket.socket, signals: socket.socket) -> None:
    if threading.get_ident() == threading.main_thread().ident:
        _take_away(signals.fileno())
    ours.close()
    signals.close()


def _take_away(number: int) -> None:
    current = _signal.set_wakeup_fd(_NOBODYS)
    if current not in {number, _NOBODYS}:
        _signal.set_wakeup_fd(current)
