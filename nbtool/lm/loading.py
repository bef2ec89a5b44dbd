"""Importing a slow library in a thread of its own, while the loop and the program go on."""

from __future__ import annotations

import atexit
import concurrent.futures
import contextlib
import gc
import os
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

_LONGEST_EXIT_S = 5.0  # modules are short; this is for a machine that is very busy
_LONGEST_FORK_S = 15.0
_LONGEST_PAUSE_S = 30.0
_QUIET_S = 1.0
_POLL_S = 0.1
_NEVER = 1_000_000  # younger collections before a full one


class Loader:
    """Import something once, in a daemon thread, and hand it to all who ask.

    A big import fills the heap, and each time that it has grown by a quarter Python looks through
    all of it, with the GIL held. For litellm (1.110, 410,000 objects, Python 3.11) these
    collections were all that stalled a loop noticeably: seven of them, of 50 to 250 ms. So they
    are put off until nobody waits; without them the longest stall was 35 ms, and the import took
    2 s in place of 3.

    Args:
        name: Of the thread.
        load: Imports it; called once, in that thread.
    """

    def __init__(self, name: str, load: Callable[[], Any]) -> None:
        self._name = name
        self._load = load
        self._lock = threading.Lock()
        self._loading: concurrent.futures.Future[Any] | None = None
        self._at_exit: _StopAtExit | None = None
        self._thread: threading.Thread | None = None
        self._users: set[object] = set()
        self._last_use_s = 0.0
        if hasattr(os, "register_at_fork"):  # not on Windows
            os.register_at_fork(before=self._before_fork)

    @property
    def has_loaded(self) -> bool:
        """Whether the import has ended, well or badly."""
        return self._loading is not None and self._loading.done()

    def begin(self) -> concurrent.futures.Future[Any]:
        """Start the import, unless that was done.

        Returns:
            A future of what `load` returns.
        """
        with self._lock:
            if self._loading is None:
                self._loading = concurrent.futures.Future()
                # A running future cannot be cancelled by one of those that wait for it.
                self._loading.set_running_or_notify_cancel()
                # A daemon, so that a script that ends early does not wait for the import.
                self._thread = threading.Thread(
                    target=self._run, args=(self._loading,), name=self._name, daemon=True
                )
                self._at_exit = _StopAtExit(self._thread)
                self._thread.start()
            return self._loading

    @contextlib.contextmanager
    def in_use(self) -> Generator[None]:
        """Say that somebody waits for what was loaded to do its work."""
        user = object()
        self._users.add(user)
        try:
            yield
        finally:
            self._users.discard(user)
            self._last_use_s = time.monotonic()

    def _run(self, loading: concurrent.futures.Future[Any]) -> None:
        before = gc.get_threshold()
        put_off = (*before[:2], _NEVER)
        if gc.isenabled():
            gc.set_threshold(*put_off)
        # A future keeps the callbacks of those who waited, and they keep their loops.
        done: concurrent.futures.Future[Any] = concurrent.futures.Future()
        try:
            done.set_result(self._load())
        except BaseException as error:  # noqa: BLE001 - whoever waits gets it
            done.set_exception(error)
            loading.set_exception(error)
        else:
            loading.set_result(done.result())
        self._loading = done
        del loading
        is_quiet = self._wait_for_quiet()
        if gc.get_threshold() == put_off:  # else the program has set its own meanwhile
            gc.set_threshold(*before)
            if is_quiet:
                gc.collect()

    def _wait_for_quiet(self) -> bool:
        """Wait until nobody has waited for a second; half a minute at most."""
        now_s = self._last_use_s = time.monotonic()
        end_s = now_s + _LONGEST_PAUSE_S
        while now_s < end_s and not (self._at_exit and self._at_exit.has_begun.wait(_POLL_S)):
            now_s = time.monotonic()
            if not self._users and now_s - self._last_use_s > _QUIET_S:
                return True
        return False

    def _before_fork(self) -> None:
        # The child has no loader thread, and would wait for it for ever.
        if self._loading is not None and threading.current_thread() is not self._thread:
            concurrent.futures.wait([self._loading], _LONGEST_FORK_S)


class _StopAtExit:
    """End the import when the program ends: a finder of modules that finds none.

    A daemon thread that is killed inside an import leaves locks behind, and the interpreter
    may wait for them on its way out: 2 of 80 scripts that ended meanwhile hung for good.

    Args:
        thread: The thread that imports; others are left alone.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        self.has_begun = threading.Event()
        sys.meta_path.insert(0, self)
        atexit.register(self._stop)

    def find_spec(self, *_: Any) -> None:
        """Let the import go on, or end its thread."""
        if self.has_begun.is_set() and threading.current_thread() is self._thread:
            raise SystemExit

    def _stop(self) -> None:
        self.has_begun.set()
        self._thread.join(_LONGEST_EXIT_S)
