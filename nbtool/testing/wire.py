"""Steps of a script as the bytes that go over the wire."""

from __future__ import annotations

import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nbtool.testing.answers import JSON_TYPE, Answer, Failure
from nbtool.testing.completion import Completion
from nbtool.testing.endpoints import CREATED_S, ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from nbtool.testing.answers import Request
    from nbtool.testing.endpoints import Endpoint

_SSE_TYPE = "text/event-stream"
_ERROR_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}


@dataclass(frozen=True, slots=True)
class Payload:
    """Hold what goes over the wire for one request.

    Attributes:
        status: HTTP status.
        content_type: Media type.
        frames: The body; a stream has one frame for each event.
        retry_after: Value of the ``retry-after`` header, or None.
        delay_s: Seconds before the first byte.
        frame_delay_s: Seconds between two frames.
    """

    status: int
    content_type: str
    frames: Sequence[bytes]
    retry_after: str | None = None
    delay_s: float = 0.0
    frame_delay_s: float = 0.0

    @property
    def streamed(self) -> bool:
        """Tell whether the body goes out in chunks, its length not announced."""
        return self.content_type == _SSE_TYPE

    @property
    def body(self) -> bytes:
        """Return all frames as one."""
        return b"".join(self.frames)


def payload_of(step: Answer | Failure, request: Request) -> Payload:
    """Make the bytes of a step.

    Args:
        step: An answer or a failure; the other steps have no whole body.
        request: The request that it answers, at one of the `ENDPOINTS`.

    Returns:
        The payload, the same for the same arguments.
    """
    if isinstance(step, Failure):
        return _failure(step)
    if step.raw is not None:
        return Payload(200, step.content_type, [_bytes(step.raw)], delay_s=step.delay_s)
    said = Completion.of(step, request)
    endpoint = ENDPOINTS[request.path]
    if not request.streamed:
        return Payload(200, JSON_TYPE, [_bytes(endpoint.whole(said))], delay_s=step.delay_s)
    options: Mapping[str, Any] = request.fields.get("stream_options") or {}
    events = endpoint.events(said, bool(options.get("include_usage")))
    frames = list(_frames(events, endpoint))
    return Payload(200, _SSE_TYPE, frames, delay_s=step.delay_s, frame_delay_s=step.chunk_delay_s)


def models_payload(names: Iterable[str]) -> Payload:
    """Make the list of models.

    Args:
        names: Names of the models that the server says it has.

    Returns:
        The payload of ``GET /v1/models``.
    """
    models = [
        {"id": name, "object": "model", "created": CREATED_S, "owned_by": "nbtool"}
        for name in names
    ]
    return Payload(200, JSON_TYPE, [_bytes({"object": "list", "data": models})])


def _failure(step: Failure) -> Payload:
    kind = (
        "server_error"
        if step.status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else "invalid_request_error"
    )
    error = {
        "message": step.message or f"Scripted failure: HTTP {step.status}.",
        "type": _ERROR_TYPES.get(step.status, kind),
        "param": None,
        "code": step.code,
    }
    body = {"error": error} if step.body is None else step.body
    retry_after = step.retry_after
    return Payload(
        step.status,
        step.content_type,
        [_bytes(body)],
        retry_after=None if retry_after is None else str(retry_after),
        delay_s=step.delay_s,
    )


def _frames(events: Iterable[Mapping[str, Any]], endpoint: Endpoint) -> Iterator[bytes]:
    for event in events:
        # Only the Responses API names its events; clients of the others know no event lines.
        name = f"event: {event['type']}\n" if "type" in event else ""
        yield f"{name}data: {json.dumps(event)}\n\n".encode()
    if endpoint.done:
        yield f"data: {endpoint.done}\n\n".encode()


def _bytes(body: str | bytes | Mapping[str, Any]) -> bytes:
    if isinstance(body, bytes):
        return body
    return body.encode() if isinstance(body, str) else json.dumps(body).encode()
