"""`StreamListener`: which field of which predictor is streamed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbtool.configuration import settings
from nbtool.errors import InputError
from nbtool.runtime.pieces import Reader, StreamResponse, Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbtool.programs.predict import Predict
    from nbtool.tracing.span import Span


class StreamListener:
    """Name a field that is to be streamed.

    Args:
        signature_field_name: Name of an output field.
        predict: The predictor whose field it is; by default the one that has it.
        predict_name: What the predictor is called in the pieces; by default its path in the
            program.
        allow_reuse: Give the field each time that the predictor is asked; else only the first
            time in each call of the program.

    Example:
        >>> import nbtool
        >>> listener = nbtool.streaming.StreamListener(signature_field_name="answer")
        >>> program = nbtool.streamify(
        ...     nbtool.Predict("question -> answer"), stream_listeners=[listener]
        ... )
        >>> listener.predict_name
        'self'

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    def __init__(
        self,
        signature_field_name: str,
        predict: Any = None,
        predict_name: str | None = None,
        allow_reuse: bool = False,
    ) -> None:
        self.signature_field_name = signature_field_name
        self.predict = predict
        self.predict_name = predict_name
        self.allow_reuse = allow_reuse
        self._reader: Reader | None = None

    def receive(self, chunk: Any) -> StreamResponse | None:
        """Take a chunk of the predictor's answer, in OpenAI's shape, by hand.

        Args:
            chunk: Has its text as ``choices[0].delta.content``.

        Returns:
            What it adds to the field; None for nothing.

        Raises:
            InputError: The adapter's answers cannot be told apart while they arrive.
        """
        if self._reader is None:
            self._reader = _reader_for(self.predict)
        text = chunk.choices[0].delta.content
        return self._own(self._reader.feed(text)) if text else None

    def finalize(self) -> StreamResponse | None:
        """Give what was held back at the end of an answer; None for nothing."""
        reader, self._reader = self._reader, None
        last = self._own(reader.finish()) if reader is not None else None
        if last is not None:
            last.is_last_chunk = True
        return last

    def _own(self, pieces: Iterable[tuple[str, str, bool]]) -> StreamResponse | None:
        own = [piece for piece in pieces if piece[0] == self.signature_field_name]
        if not own:
            return None
        text = "".join(text for _, text, _ in own)
        return StreamResponse(self.predict_name or "", self.signature_field_name, text, own[-1][2])


def _reader_for(predict: Predict) -> Reader:
    from nbtool.adapters.chat import ChatAdapter

    adapter = settings.adapter or ChatAdapter()
    reader = adapter.__stream_reader__({"signature": predict.signature})
    if reader is None:
        raise InputError(
            f"Answers for {adapter!r} cannot be told apart while they arrive.",
            hint="Use ChatAdapter, JSONAdapter or XMLAdapter.",
        )
    return reader


def find_predictors(program: Any, listeners: list[StreamListener]) -> None:
    """Find the predictor of each listener that names none.

    Args:
        program: The program.
        listeners: They are changed in place.

    Raises:
        InputError: No predictor of the program has the field, or several have.
    """
    predictors = _predictors_of(program)
    for listener in listeners:
        if listener.predict is not None:
            named = next((name for name, p in predictors if p is listener.predict), None)
            listener.predict_name = listener.predict_name or named
            continue
        name = listener.signature_field_name
        owners = [found for found in predictors if name in found[1].signature.output_fields]
        if len(owners) > 1:
            raise InputError(
                f"Signature field {name} is not unique in the program, cannot automatically "
                "determine which predictor to use for streaming. Please specify the predictor to "
                f"listen to: {[path for path, _ in owners]} have it.",
                hint="Write `StreamListener(..., predict=program.<predictor>)`.",
            )
        if not owners:
            raise InputError(
                f"Signature field {name} is not a field of any predictor in the program, cannot "
                "automatically determine which predictor to use for streaming. Please verify "
                "your field name or specify the predictor to listen to.",
                hint=f"Its predictors are {[path for path, _ in predictors]}.",
            )
        path, listener.predict = owners[0]
        listener.predict_name = listener.predict_name or path


def _predictors_of(program: Any) -> list[tuple[str, Predict]]:
    named: Callable[[], Any] | None = getattr(program, "named_predictors", None)
    return cast("list[tuple[str, Predict]]", named()) if named is not None else []


class Heard:
    """Give on the pieces that the listeners of one call of a program are for.

    Args:
        listeners: The listeners; they are not changed.
        put: Takes a piece, and what it belongs to, from whatever thread.

    Attributes:
        has_heard: A listener was given something.
    """

    def __init__(
        self,
        listeners: list[StreamListener],
        put: Callable[[StreamResponse, tuple[int, str]], object],
    ) -> None:
        self._listeners = listeners
        self._put = put
        self._first: dict[int, Span] = {}  # whose field a listener gives, by listener
        self.has_heard = False

    def __call__(self, told: Told) -> None:
        """Give a piece on to whoever listens; an answer that came whole is no stream."""
        field = told.response.signature_field_name
        for number, listener in enumerate(self._listeners):
            is_meant = listener.predict is told.owner.subject
            if not (is_meant and field == listener.signature_field_name and told.was_streamed):
                continue
            if listener.allow_reuse or self._first.setdefault(number, told.owner) is told.owner:
                self.has_heard = True
                told.response.predict_name = listener.predict_name or told.owner.name
                self._put(told.response, (told.owner.id, field))
                return
