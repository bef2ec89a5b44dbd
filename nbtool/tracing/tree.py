"""`Trace`: the recorded steps of one or more calls, as a tree with totals."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, TypeAlias

from nbtool.tracing import export
from nbtool.tracing.comparison import Difference

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Sequence

    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Kind


@dataclasses.dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a trace.

    Attributes:
        steps: Recorded steps of every kind.
        lm_calls: Requests to an LM, cache hits included.
        prompt_tokens: Tokens sent.
        completion_tokens: Tokens received.
        cost_usd: Known prices added up; None where no price is known.
        errors: Steps in which an error was raised first (not those it passed through).
        wall_s: From the first step's start to the last end, in seconds.
    """

    steps: int = 0
    lm_calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_usd: float | None = None
    errors: int = 0
    wall_s: float = 0.0


class Trace:
    """Be what `with nbtool.trace() as t:` gives: the steps seen so far, in order.

    It stays up to date while calls run. Everything that it shows is scrubbed of secrets.

    Args:
        source: Returns the records, oldest first.
        dropped: Returns how many records had to make room.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> qa = nbtool.Predict("question -> answer")
        >>> with nbtool.context(lm=DummyLM([{"answer": "Paris"}])), nbtool.trace() as t:
        ...     qa(question="Capital of France?").answer
        'Paris'
        >>> [step.kind for step in t.spans]
        ['predict', 'adapter', 'lm', 'adapter']
    """

    def __init__(
        self, source: Callable[[], list[SpanRecord]], dropped: Callable[[], int] = lambda: 0
    ) -> None:
        self._source = source
        self._dropped = dropped

    @property
    def spans(self) -> list[SpanRecord]:
        """The recorded steps, in the order of opening."""
        return self._source()

    @property
    def dropped(self) -> int:
        """How many steps were recorded and had to make room for later ones."""
        return self._dropped()

    @property
    def roots(self) -> list[SpanRecord]:
        """The outermost recorded steps, in the order of opening."""
        spans = self.spans
        known = {span.id for span in spans}
        return [span for span in spans if span.parent_id not in known]

    def children(self, span: SpanRecord) -> list[SpanRecord]:
        """Return the steps directly inside `span`, in the order of opening."""
        return [other for other in self.spans if other.parent_id == span.id]

    def find(self, *, name: str | None = None, kind: Kind | None = None) -> list[SpanRecord]:
        """Return the steps of that name and of that kind, in the order of opening."""
        return [
            span
            for span in self.spans
            if (name is None or span.name == name) and (kind is None or span.kind == kind)
        ]

    @property
    def totals(self) -> Totals:
        """Sums over all recorded steps."""
        return totals_of(self.spans)

    def diff(self, other: Trace) -> Difference:
        """Compare with another trace, such as that of a fork; `other` is the later one.

        Returns:
            The steps of both side by side; ``print`` it, or read its ``changes``.
        """
        return Difference(self.spans, other.spans)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the trace as JSON lines, scrubbed; see `load`.

        Args:
            path: File to write; it is replaced whole, or left as it was.
        """
        export.write_jsonl(self.spans, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Trace:
        """Read a trace that `save` wrote.

        Args:
            path: File to read.

        Returns:
            The trace, complete up to a last line that was cut off (which gives a warning).

        Raises:
            RecordingError: The file is damaged, or of another schema version.
        """
        return cls.of(export.read_jsonl(path))

    @classmethod
    def of(cls, spans: Sequence[SpanRecord]) -> Trace:
        """Make a trace of given records, oldest first."""
        kept = list(spans)
        return cls(lambda: list(kept))

    def __iter__(self) -> Iterator[SpanRecord]:
        return iter(self.spans)

    def __len__(self) -> int:
        return len(self.spans)

    def __str__(self) -> str:
        return _drawings["text"](self.spans)

    def __repr__(self) -> str:
        return _drawings["text"](self.spans)

    def _repr_html_(self) -> str | None:
        draw = _drawings.get("html")
        return draw(self.spans) if draw is not None else None

    def to_markdown(self) -> str:
        """Write the steps as a nested list in Markdown, for an issue or a chat."""
        return _drawings.get("markdown", _counted)(self.spans)


def _counted(spans: Sequence[SpanRecord]) -> str:
    return f"<Trace of {len(spans)} steps>"


_Drawing: TypeAlias = "Callable[[Sequence[SpanRecord]], str]"
_drawings: dict[str, _Drawing] = {"text": _counted}


def draw_with(**drawings: _Drawing) -> None:
    """Let views say how a trace looks; this layer knows none.

    Args:
        **drawings: What draws it as ``text``, ``html`` and ``markdown``.
    """
    _drawings.update(drawings)


def totals_of(spans: Sequence[SpanRecord]) -> Totals:
    """Add up what records say of tokens, cost, errors and time."""
    lm_calls = [span for span in spans if span.kind == "lm"]
    costs = [span.cost_usd for span in spans if span.cost_usd is not None]
    ends = [span.end_s for span in spans if span.end_s is not None]
    failed_through = {s.parent_id for s in spans if s.status == "error"}
    return Totals(
        steps=len(spans),
        lm_calls=len(lm_calls),
        prompt_tokens=sum(span.usage.get("prompt_tokens", 0) for span in lm_calls),
        completion_tokens=sum(span.usage.get("completion_tokens", 0) for span in lm_calls),
        cost_usd=sum(costs) if costs else None,
        errors=sum(s.status == "error" and s.id not in failed_through for s in spans),
        wall_s=max(ends) - min(span.start_s for span in spans) if ends else 0.0,
    )


def subtree(spans: Sequence[SpanRecord], root_id: int) -> list[SpanRecord]:
    """Return the records of one root call; `spans` is in the order of opening."""
    inside = {root_id}
    kept: list[SpanRecord] = []
    for span in spans:
        if span.id == root_id or span.parent_id in inside:
            inside.add(span.id)
            kept.append(span)
    return kept
