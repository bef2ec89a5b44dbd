"""`streaming_response`: a stream as server-sent events, for a web service."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from nbtool.adapters.values import as_json
from nbtool.errors import InputError
from nbtool.programs.prediction import Prediction
from nbtool.runtime.pieces import StreamResponse
from nbtool.streaming.messages import StatusMessage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

_IS_EVENT = "data:"


async def streaming_response(streamer: AsyncIterator[Any]) -> AsyncGenerator[str]:
    """Give what `streamify` gives as the lines of a ``text/event-stream``.

    Args:
        streamer: What a streamified program returned.

    Yields:
        An event with one JSON object: ``{"chunk": …}`` with a chunk's JSON text,
        ``{"stream": {…}}`` for a `StreamResponse`, ``{"status": …}`` for a message and
        ``{"prediction": {…}}`` for the result; texts that begin with ``data:`` as they are; and
        at the end ``data: [DONE]``.

    Raises:
        InputError: Something else came.

    Source:
        Chunks, predictions and the end as DSPy's function of that name.
    """
    async for item in streamer:
        if isinstance(item, str) and item.startswith(_IS_EVENT):
            yield item
        else:
            yield f"data: {json.dumps(_as_object(item), ensure_ascii=False)}\n\n"
    yield "data: [DONE]\n\n"


def _as_object(item: Any) -> dict[str, Any]:
    if isinstance(item, Prediction):
        return {"prediction": {name: as_json(value) for name, value in item.items()}}
    if isinstance(item, StatusMessage):
        return {"status": item.message}
    if isinstance(item, StreamResponse):
        names = ("predict_name", "signature_field_name", "chunk", "is_last_chunk", "starts_again")
        return {"stream": {name: getattr(item, name) for name in names}}
    write = getattr(item, "json", None)
    if callable(write) and hasattr(item, "choices"):
        return {"chunk": cast("str", write())}
    raise InputError(
        f"Unknown chunk value type: {type(item).__name__} {item!r:.200}",
        hint="Send texts that begin with `data:`, or leave it out of the stream.",
    )
