"""Chunks of an LM's answer in the shape that OpenAI's streams have."""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING, Any

from nbtool.runtime.pieces import is_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.tracing.span import Span


@dataclasses.dataclass(slots=True)
class Delta:
    """Be what a chunk adds to a message."""

    content: str | None
    role: str = "assistant"


@dataclasses.dataclass(slots=True)
class Choice:
    """Be a choice of a chunk; there is one."""

    delta: Delta
    finish_reason: str | None = None
    index: int = 0


@dataclasses.dataclass(slots=True)
class Chunk:
    """Be a piece of an LM's answer, with the names that OpenAI's chunks have.

    Attributes:
        model: Who answers.
        choices: One choice, whose ``delta.content`` is the text; None at the end.
        object: What OpenAI calls such a chunk.
    """

    model: str
    choices: list[Choice]
    object: str = "chat.completion.chunk"

    def json(self) -> str:
        """Write the chunk as JSON."""
        return json.dumps(dataclasses.asdict(self), ensure_ascii=False)


def joined_chunks(chunks: list[Any]) -> Any:
    """Make one chunk of several of one answer, oldest first."""
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks)
    reason = chunks[-1].choices[0].finish_reason
    return Chunk(chunks[-1].model, [Choice(Delta(text or None), reason)])


class Texts:
    """Put the text of every answer below a step, as it arrives, wherever it belongs.

    Args:
        put: Takes a chunk and the number of its answer, from whatever thread.
        root: Returns the step below which is listened; None until it has opened.

    Attributes:
        wants_tokens: LMs shall stream.
    """

    wants_tokens = True

    def __init__(
        self, put: Callable[[Chunk, int], object], root: Callable[[], Span | None]
    ) -> None:
        self._put = put
        self._root = root

    def opened(self, span: Span) -> None:
        """Do nothing: an answer begins with its first piece."""

    def arrived(self, span: Span, text: str) -> None:
        """Put a piece of an answer."""
        if is_below(span, self._root()):
            self._put(Chunk(span.name, [Choice(Delta(text))]), span.id)

    def closed(self, span: Span) -> None:
        """Put the end of an answer that came in pieces."""
        if span.arrived is not None and span.error is None and is_below(span, self._root()):
            self._put(Chunk(span.name, [Choice(Delta(None), "stop")]), span.id)
