"""The calls that a live view shows: which of them run, and what a person can do to them."""

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any, NamedTuple

from nbtool.runtime.inflight import running
from nbtool.views.debuggers import Debuggers

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.tracing.span import Run, Span

_STOP = {"cmd": "stop", "label": "Stop", "title": "Stop these calls", "enabled": True}


class _Root(NamedTuple):
    """A root step that runs."""

    since_s: float
    run: Run | None = None
    task: weakref.ref[asyncio.Task[Any]] | None = None


class ShownCalls:
    """Know the root calls of a view, and stop, pause and mend them.

    It is true while one of them runs. Steps are noted from any thread.

    Args:
        changed: Called, on any thread, when a debugger may have something to tell.

    Attributes:
        debuggers: Those of the calls that have one.
    """

    def __init__(self, changed: Callable[[], object]) -> None:
        self.debuggers = Debuggers(changed)
        self._runs: weakref.WeakSet[Run] = weakref.WeakSet()
        self._roots: dict[int, _Root] = {}
        self._lock = threading.Lock()

    def __bool__(self) -> bool:
        return bool(self._roots)

    def __contains__(self, run: Run) -> bool:
        return run in self._runs

    @property
    def runs(self) -> list[Run]:
        """All that were added and are still known to somebody."""
        return list(self._runs)

    def add(self, run: Run) -> None:
        """Take up a root call."""
        self._runs.add(run)
        self.debuggers.follow(run.gate)

    def opened(self, root: Span) -> None:
        """Note that a root step starts."""
        with self._lock:
            self._roots[root.id] = _Root(time.monotonic(), root.run, _current_task())

    def runs_already(self, number: int) -> None:
        """Note a root step that was opened before."""
        with self._lock:
            self._roots[number] = _Root(0.0)

    def closed(self, root: Span) -> None:
        """Note that a root step has ended."""
        with self._lock:
            self._roots.pop(root.id, None)

    def longest_since_s(self) -> float | None:
        """Return when the one that runs longest began, by `time.monotonic`."""
        with self._lock:
            return min((root.since_s for root in self._roots.values()), default=None)

    def ui(self) -> dict[str, Any]:
        """Return what a page shows of them; see `Debuggers.ui`."""
        if not self._roots:
            return {"state": "ended", "buttons": [], "stops": [], "waits_for": []}
        shown = self.debuggers.ui()
        return {**shown, "buttons": [*shown["buttons"], _STOP]}

    def obey(self, message: dict[str, Any]) -> dict[str, Any]:
        """Do what a button says; ``cmd``, and what `Debuggers.obey` takes.

        Returns:
            ``ok`` and ``note``; nothing where that is no button.
        """
        if message.get("cmd") == "stop":
            self.stop()
            return {"ok": True, "note": ""}
        if message.get("cmd") == "pause":
            return self.debuggers.pause(self._running())
        return self.debuggers.obey(message)

    def _running(self) -> set[Run]:
        runs = {call.span.run for call in running() if call.span is not None}
        with self._lock:
            runs |= {root.run for root in self._roots.values() if root.run is not None}
        return {run for run in runs if run in self}

    def stop(self) -> None:
        """Cancel those that run; on the loop only."""
        calls = [call for call in running() if call.span is not None and call.span.run in self]
        for call in calls:
            call.cancel()
        known = {call.span.id for call in calls if call.span is not None}
        with self._lock:
            others = [root.task for number, root in self._roots.items() if number not in known]
        for reference in others:  # decorated functions, which have no handle
            task = reference() if reference is not None else None
            if task is not None:
                task.get_loop().call_soon_threadsafe(task.cancel)


def _current_task() -> weakref.ref[asyncio.Task[Any]] | None:
    loop = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
    task = asyncio.current_task(loop) if loop is not None else None
    return weakref.ref(task) if task is not None else None
