"""`Kept`: results of this run that a retried step gets again instead of paying twice."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from nbtool.tracing.fingerprints import request_of

if TYPE_CHECKING:
    from nbtool.tracing.span import Span

_SERVED = frozenset({"lm", "tool"})


class Kept:
    """Hold what LMs and tools have returned, for steps that are run again."""

    def __init__(self) -> None:
        self._done: list[Span] = []
        self._offers: dict[int, dict[str, deque[Span]]] = {}

    def note(self, span: Span) -> None:
        """Take up a step that has ended well."""
        if span.kind in _SERVED and not (span.attributes or {}).get("kept"):
            self._done.append(span)

    def below(self, step: Span) -> list[Span]:
        """Return the steps inside of one whose results can be had again."""
        return [span for span in self._done if any(above is step for above in span.ancestors())]

    def offer(self, step: Span) -> None:
        """Serve, while a step runs once more, what it had got before."""
        found: dict[str, deque[Span]] = {}
        for span in self.below(step):
            found.setdefault(_request(span), deque()).append(span)
        self._offers[step.id] = found

    def withdraw(self, step: Span) -> None:
        """Serve no more to a step."""
        self._offers.pop(step.id, None)

    def take(self, span: Span) -> Span | None:
        """Return the earlier step whose output this one gets; None: it has to run."""
        if not self._offers or span.kind not in _SERVED:
            return None
        for above in span.ancestors():
            offer = self._offers.get(above.id)
            same = offer.get(_request(span)) if offer else None
            if same:
                return same.popleft()
        return None

    def clear(self) -> None:
        """Let the objects go."""
        self._done.clear()
        self._offers.clear()


def _request(span: Span) -> str:
    # As it was when the step began: the program may have changed the objects since.
    record = span.record
    return request_of(span.kind, span.name, record.held_inputs if record else span.inputs)
