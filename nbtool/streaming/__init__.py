"""Streaming as DSPy has it: programs as generators of what happens in them.

`Call.stream` is the shorter way to the texts of an answer; it lies below, in `nbtool.runtime`.

Source:
    Names and call shapes as DSPy's module of that name.
"""

from nbtool.runtime.pieces import StreamResponse
from nbtool.streaming.listeners import StreamListener
from nbtool.streaming.messages import StatusMessage, StatusMessageProvider
from nbtool.streaming.programs import apply_sync_streaming, streamify
from nbtool.streaming.responses import streaming_response

__all__ = [
    "StatusMessage",
    "StatusMessageProvider",
    "StreamListener",
    "StreamResponse",
    "apply_sync_streaming",
    "streamify",
    "streaming_response",
]
