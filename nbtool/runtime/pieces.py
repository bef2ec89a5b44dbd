"""Texts of a call's answers while they arrive, told apart by step and field.

An LM streams text and knows no fields. The step beside it that wrote the request does: where the
subject of such a step has a method ``__stream_reader__(inputs)``, that makes a `Reader`, which
tells what of the text belongs to which field. So this module knows neither adapters nor LMs.
"""

from __future__ import annotations

import dataclasses
import threading
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbtool.tracing.span import Span

Piece: TypeAlias = tuple[str, str, bool]
"""Name of the field, its next text, and whether the field has no more."""

_TEXT = "text"  # the field of an LM that is asked directly


class Reader(Protocol):
    """Tell the fields of one answer apart while it arrives."""

    def feed(self, text: str) -> Iterable[Piece]:
        """Take the next piece of the answer, and give what is certain now."""
        ...

    def finish(self) -> Iterable[Piece]:
        """Give what was held back; the answer has no more."""
        ...

    def as_text(self, value: Any) -> str:
        """Write a field's value as text."""
        ...


@dataclasses.dataclass(slots=True)
class StreamResponse:
    """Be the next piece of a field's text.

    Attributes:
        predict_name: Whose field it is: the name of the predictor in the program that was called,
            as ``named_predictors()`` has it, or else the name of its step.
        signature_field_name: Name of the field; ``"text"`` where an LM was asked directly.
        chunk: The text.
        is_last_chunk: The field has no more.
        starts_again: What was given of this field before is void: the LM was asked again, or its
            answer had to be mended.

    Source:
        The first four as DSPy's class of that name.
    """

    predict_name: str
    signature_field_name: str
    chunk: str
    is_last_chunk: bool = False
    starts_again: bool = False

    def __str__(self) -> str:
        """Return the text alone, for ``print(piece, end="")``."""
        return self.chunk


@dataclasses.dataclass(slots=True)
class Told:
    """Say what a listener is told.

    Attributes:
        owner: The step whose field it is.
        response: The piece.
        was_streamed: It arrived piece by piece; else the answer came whole.
    """

    owner: Span
    response: StreamResponse
    was_streamed: bool = True


class _Field:
    """Keep what was told of one field."""

    __slots__ = ("has_ended", "is_void", "sent")

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.has_ended = False
        self.is_void = False  # another answer is being read


class _Answers:
    """Keep what is known of the answers to one step, one after the other.

    Attributes:
        reader: Of the current answer; None where its text cannot be told apart.
        heard: The pieces that the current answer has come in; a retry begins another list.
        fields: What was told, by name of the field.
        is_read: The current answer was read to its end.
    """

    def __init__(self, source: Span | None) -> None:
        self.source = source
        self.reader: Reader | None = None
        self.heard: list[str] | None = None
        self.fields: dict[str, _Field] = {}
        self.is_read = False

    def begin(self, heard: list[str] | None) -> None:
        self.heard, self.is_read = heard, False
        self.reader = _reader_of(self.source)
        for field in self.fields.values():
            field.is_void = True


def _reader_of(source: Span | None) -> Reader | None:
    make = getattr(source.subject, "__stream_reader__", None) if source is not None else None
    return None if source is None or make is None else make(source.inputs)


class Pieces:
    """Tell a function each piece of text that arrives below a step.

    It is told from whatever thread. After the end of a step, the texts that were told of a field,
    from the last one that ``starts_again``, make its value where that is a text.

    Args:
        tell: Told each piece. It must be quick, and must not block.
        root: Returns the step below which is listened; None until it has opened.

    Attributes:
        wants_tokens: LMs shall stream.
    """

    wants_tokens = True

    def __init__(self, tell: Callable[[Told], object], root: Callable[[], Span | None]) -> None:
        self._tell = tell
        self._root = root
        self._answers: dict[int, _Answers] = {}  # by the step that asked
        self._lock = threading.RLock()

    def opened(self, span: Span) -> None:
        """Take note that an LM is asked, perhaps again."""
        if span.kind == "lm" and is_below(span, self._root()):
            with self._lock:
                self._answers_to(span).begin(None)

    def arrived(self, span: Span, text: str) -> None:
        """Tell what a piece of an answer adds to its fields."""
        if span.kind != "lm" or not is_below(span, self._root()):
            return
        with self._lock:
            answers = self._answers_to(span)
            if answers.heard is not span.arrived:
                answers.begin(span.arrived)
                text = "".join(span.arrived or ())
            owner = _owner_of(span)
            if owner is span:
                self._give(owner, answers, (_TEXT, text, False))
            elif answers.reader is not None:
                for piece in answers.reader.feed(text):
                    self._give(owner, answers, piece)

    def closed(self, span: Span) -> None:
        """Tell the rest of an answer that has come, or of the fields read from it."""
        if not is_below(span, self._root()):
            return
        with self._lock:
            if span.kind == "lm":
                self._answered(span)
            elif span.kind == "adapter" and span.parent is not None and span.error is None:
                self._read(span, span.parent)
            else:
                self._answers.pop(span.id, None)

    def _answered(self, span: Span) -> None:
        owner, answers = _owner_of(span), self._answers_to(span)
        if span.error is None and owner is span:
            self._complete(owner, answers, {_TEXT: _first_text(span.output)}, None)
        elif span.error is None and answers.reader is not None:
            for piece in answers.reader.finish():
                self._give(owner, answers, piece)
        if owner is span:
            self._answers.pop(span.id, None)

    def _read(self, span: Span, owner: Span) -> None:
        """Take up what an adapter has written or read."""
        output: object = span.output
        if not isinstance(output, dict):
            answers = self._answers.setdefault(owner.id, _Answers(span))
            answers.source = span
            return
        read = self._answers.get(owner.id)
        if read is not None and not read.is_read:
            read.is_read = True  # of several answers, the first one counts
            self._complete(owner, read, cast("dict[str, Any]", output), read.reader)

    def _answers_to(self, span: Span) -> _Answers:
        return self._answers.setdefault(_owner_of(span).id, _Answers(None))

    def _complete(
        self, owner: Span, answers: _Answers, values: dict[str, Any], reader: Reader | None
    ) -> None:
        """Tell what is missing of fields whose values are known now."""
        was_streamed = answers.heard is not None
        for name, value in values.items():
            if value is None:
                continue
            field = answers.fields.setdefault(name, _Field())
            sent = "" if field.is_void else "".join(field.sent)
            is_told = bool(sent) and not isinstance(value, str)
            whole = sent if is_told else reader.as_text(value) if reader else str(value)
            if not whole.startswith(sent) or (field.has_ended and sent != whole):
                field.is_void, sent = True, ""
            if field.is_void or not field.has_ended:
                piece = (name, whole[len(sent) :], True)
                self._give(owner, answers, piece, was_streamed=was_streamed)

    def _give(
        self, owner: Span, answers: _Answers, piece: Piece, *, was_streamed: bool = True
    ) -> None:
        name, text, is_last = piece
        field = answers.fields.setdefault(name, _Field())
        starts_again = field.is_void and bool(field.sent)
        if field.is_void:
            field.sent, field.has_ended, field.is_void = [], False, False
        field.sent.append(text)
        field.has_ended = is_last
        response = StreamResponse(owner.name, name, text, is_last, starts_again)
        self._tell(Told(owner, response, was_streamed))


def is_below(span: Span, root: Span | None) -> bool:
    """Tell whether a step is another one, or a part of it.

    Args:
        span: The step.
        root: The other; None is above nothing.
    """
    if root is None:
        return False
    is_whole_run = root.parent is None and span.run is root.run
    return is_whole_run or span is root or any(above is root for above in span.ancestors())


def _owner_of(span: Span) -> Span:
    """Return the step to whose question an LM's answer is; the LM's own where there is none."""
    return span.parent if span.parent is not None and span.parent.kind == "predict" else span


def _first_text(outputs: Any) -> str | None:
    given = cast("list[object]", outputs) if isinstance(outputs, list) else []
    return given[0] if given and isinstance(given[0], str) else None
