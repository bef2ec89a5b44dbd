"""Every call of a script in its terminal: ``NBTOOL_TRACE=1 python app.py``."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from nbtool.configuration import settings
from nbtool.tracing import process  # noqa: F401 # pyright: ignore[reportUnusedImport] - it records first
from nbtool.tracing.boundary import install
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace
from nbtool.views.watching import live_tree

if TYPE_CHECKING:
    from rich.live import Live

    from nbtool.tracing.span import Span


class Terminal:
    """Draw calls on standard error while any runs; an instrument on all calls.

    Calls at the same time share a tree; it stays on the screen when the last of them has ended.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running = 0
        self._recorder: Recorder | None = None
        self._live: Live | None = None

    def opened(self, span: Span) -> None:
        """Draw a root call from now on."""
        if span.parent is not None:
            return
        with self._lock:
            self._running += 1
            if self._recorder is None:
                recorder = self._recorder = Recorder(wants_tokens=settings.stream_when_watched)
                self._live = live_tree(Trace(recorder.records, lambda: recorder.dropped))
                self._live.start()
            recorder = self._recorder
        span.run.attach(recorder)
        recorder.opened(span)  # whoever tells of this span has not heard of the recorder yet

    def closed(self, span: Span) -> None:
        """Leave the tree as it is when the last call has ended."""
        if span.parent is not None:
            return
        with self._lock:
            self._running -= 1
            if self._running or self._live is None or self._recorder is None:
                return
            self._recorder.closed(span)  # it is told after this instrument
            live, self._live, self._recorder = self._live, None, None
        live.stop()


def watch_all() -> None:
    """Draw every call of this process."""
    install(Terminal())
