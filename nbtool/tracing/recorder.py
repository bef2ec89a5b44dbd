"""The recorder: a bounded memory of steps, filled by the boundary."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

from nbtool.tracing.record import SpanRecord

if TYPE_CHECKING:
    from nbtool.tracing.span import Span

MAX_SPANS = 20_000
MAX_BYTES = 64 * 1024 * 1024


class Recorder:
    """Keep the latest steps as records; when full, the oldest finished ones go first.

    Args:
        max_spans: How many records are kept at most.
        max_bytes: How much they may take, by their own estimate.
        wants_tokens: LMs shall stream while this recorder watches, so that `SpanRecord.arrived`
            grows while an answer is on its way.

    Attributes:
        dropped: How many records had to go.
    """

    def __init__(
        self,
        *,
        max_spans: int = MAX_SPANS,
        max_bytes: int = MAX_BYTES,
        wants_tokens: bool = False,
    ) -> None:
        self.max_spans = max_spans
        self.max_bytes = max_bytes
        self.wants_tokens = wants_tokens
        self.dropped = 0
        self._records: dict[int, SpanRecord] = {}
        self._finished: deque[int] = deque()
        self._bytes = 0
        self._last_root: int | None = None
        self._lock = threading.Lock()  # steps of worker threads and of several loops arrive here

    def opened(self, span: Span) -> None:
        """Take up a step that starts."""
        record = span.record
        if record is None:
            record = span.record = SpanRecord.opening(span)
        with self._lock:
            self._records[span.id] = record
            self._bytes += record.size_bytes
            if self._bytes > self.max_bytes or len(self._records) > self.max_spans:
                self._make_room()
        if span.parent is None:
            self._last_root = span.id

    def closed(self, span: Span) -> None:
        """Complete a step that has ended."""
        record = span.record
        if record is None:  # it was open before this recorder watched
            return
        if record.end_s is None:  # else another recorder has completed the shared record
            record.close(span)
        with self._lock:
            if span.id in self._records:
                self._bytes += record.grown_bytes
                self._finished.append(span.id)
                if self._bytes > self.max_bytes or len(self._records) > self.max_spans:
                    self._make_room()

    def _make_room(self) -> None:
        while len(self._records) > self.max_spans or self._bytes > self.max_bytes:
            if not self._finished:  # what runs is kept
                return
            oldest = self._finished.popleft()
            self._bytes -= self._records.pop(oldest).size_bytes
            self.dropped += 1

    def records(self) -> list[SpanRecord]:
        """Return what is kept, in the order of opening."""
        with self._lock:
            return list(self._records.values())

    def last_root_id(self) -> int | None:
        """Return the id of the root call that started last."""
        return self._last_root

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._records.clear()
            self._finished.clear()
            self._bytes = 0
            self._last_root = None
            self.dropped = 0
