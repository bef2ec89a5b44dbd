"""What a scripted server receives (`Request`) and what it may do about it.

An `Answer` is a good answer, a `Failure` an HTTP error, a `Drop` a connection that breaks, and
a `Hang` a provider that goes silent. All four are plain values: one may be sent many times.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any, TypeAlias, cast

JSON_TYPE = "application/json"


@dataclass(slots=True)
class Request:
    """Keep one request as the server got it.

    Attributes:
        number: Position among the server's requests, from 1; also in its ``x-request-id``.
        method: HTTP method, in capitals.
        path: Path without the query, e.g. ``"/v1/chat/completions"``.
        headers: All headers, names in lower case.
        body: Parsed JSON; None when there was no body, or none that is JSON.
        at_s: Seconds between the start of the server and the arrival of the whole request.
        connection_id: Number of the connection it came on, from 1.
        aborted: The client hung up before the answer was complete.
    """

    number: int
    method: str
    path: str
    headers: dict[str, str]
    body: Any
    at_s: float
    connection_id: int
    aborted: bool = False

    @property
    def fields(self) -> dict[str, Any]:
        """Return the body if it is a JSON object, else an empty one."""
        body: object = self.body
        return cast("dict[str, Any]", body) if isinstance(body, dict) else {}

    @property
    def messages(self) -> list[dict[str, Any]]:
        """Return the turns, oldest first, whichever endpoint was asked."""
        sent = self.fields
        turns: object = sent.get("messages") or sent.get("input") or sent.get("prompt")
        if isinstance(turns, str):
            return [{"role": "user", "content": turns}]
        return [turn for turn in cast("list[Any]", turns or []) if isinstance(turn, dict)]

    @property
    def prompt(self) -> str:
        """Return the text of the last user turn, or an empty string."""
        asked = [turn for turn in self.messages if turn.get("role") == "user"]
        return text_of(asked[-1].get("content")) if asked else ""

    @property
    def streamed(self) -> bool:
        """Tell whether the client asked for server-sent events."""
        return bool(self.fields.get("stream"))


@dataclass(frozen=True, slots=True)
class Answer:
    """Answer as a model does: whole, or in pieces where the request says ``stream``.

    Args:
        text: Content of each choice; a list gives each choice its own; None sends ``null``.
        tool_calls: One mapping a call: ``name``, ``arguments`` (a mapping, or the exact JSON
            text to send) and ``id`` if it matters; OpenAI's nested ``function`` form goes too.
        reasoning: Sent as ``reasoning_content``, and as an item of its own by
            ``/v1/responses``.
        delay_s: Seconds before the first byte.
        chunks: Pieces of a streamed text; they are the text where `text` is not given. By
            default the text is cut at its words.
        chunk_delay_s: Seconds between two events of a stream.
        finish_reason: By default ``"tool_calls"`` if there are any, else ``"stop"``.
        usage: Sent as it stands; an empty one leaves the field out. By default words are
            counted, so that tests can expect exact figures.
        n_choices: Number of choices, 0 for an empty list. By default as many as `text` has,
            or else the request's ``n``.
        model: Name in the answer; by default the one that was asked for.
        raw: The whole body, in place of all the above, with HTTP 200: for what is no answer.
        content_type: Media type of `raw`.

    Example:
        >>> Answer("Paris").text
        'Paris'
        >>> cut_short = Answer(raw='{"choices": [{"mess')
        >>> error_page = Answer(raw="<html>Bad gateway</html>", content_type="text/html")

    Source:
        ``reasoning_content`` as in DeepSeek's API, which other servers follow.
    """

    text: str | Sequence[str] | None = None
    _: KW_ONLY
    tool_calls: Sequence[Mapping[str, Any]] = ()
    reasoning: str | None = None
    delay_s: float = 0.0
    chunks: Sequence[str] | None = None
    chunk_delay_s: float = 0.0
    finish_reason: str | None = None
    usage: Mapping[str, Any] | None = None
    n_choices: int | None = None
    model: str | None = None
    raw: str | bytes | Mapping[str, Any] | None = None
    content_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class Failure:
    """Answer with an HTTP error in OpenAI's shape.

    Args:
        status: HTTP status, 400 to 599.
        message: Text of the error; by default one that names the status.
        code: Provider's code, e.g. ``"context_length_exceeded"``.
        retry_after: Sent as ``retry-after``: seconds, or an HTTP date as text.
        delay_s: Seconds before the first byte.
        body: The whole body, in place of the error object: JSON or what is no JSON.
        content_type: Media type of the body.

    Example:
        >>> Failure(429, retry_after=1.5).status
        429
    """

    status: int
    message: str | None = None
    _: KW_ONLY
    code: str | None = None
    retry_after: float | str | None = None
    delay_s: float = 0.0
    body: str | bytes | Mapping[str, Any] | None = None
    content_type: str = JSON_TYPE


@dataclass(frozen=True, slots=True)
class Drop:
    """Break the connection.

    Args:
        after_bytes: None breaks it before the status line, 0 after the headers, more after
            that many bytes of the body of `of`, which is never sent to its end.
        reset: Break it as a crash does (TCP reset); False closes it in an orderly way.
        of: The answer that is cut.

    Example:
        >>> Drop(after_bytes=40, of=Answer("a long story")).reset
        True
    """

    after_bytes: int | None = None
    _: KW_ONLY
    reset: bool = True
    of: Answer = Answer("This answer is cut short.")


@dataclass(frozen=True, slots=True)
class Hang:
    """Go silent until the client gives up.

    Args:
        after_bytes: None never sends a byte, 0 sends the headers, more sends that many bytes
            of the body of `of`.
        of: The answer that is begun.
    """

    after_bytes: int | None = None
    _: KW_ONLY
    of: Answer = Answer("This answer never ends.")


Step: TypeAlias = Answer | Failure | Drop | Hang
Item: TypeAlias = Step | str
"""A step as one may write it: a plain string means ``Answer(text)``."""


def step_from(item: Item) -> Step:
    """Return the step that an item of a script stands for.

    Args:
        item: A step, or the text of an answer.

    Returns:
        The step itself, or an `Answer` with that text.
    """
    return Answer(item) if isinstance(item, str) else item


def text_of(content: object) -> str:
    """Return the text in a message's content, its parts joined by line breaks.

    Args:
        content: A string, a list of parts as OpenAI's APIs have them, or None.

    Returns:
        The text; empty where there is none.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, Mapping):
        part = cast("Mapping[str, Any]", content)
        return text_of(part.get("text") or part.get("content"))
    if isinstance(content, Sequence):
        return "\n".join(filter(None, map(text_of, cast("Sequence[object]", content))))
    return ""
