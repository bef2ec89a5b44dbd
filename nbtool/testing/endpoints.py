"""The shapes of OpenAI's endpoints: a `Completion` as one object, or as a stream of events.

Source:
    Field names as in OpenAI's API reference: Chat Completions, Completions, Responses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtool.testing.completion import words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nbtool.testing.completion import Completion

JSONObject: TypeAlias = dict[str, Any]

CREATED_S = 1_700_000_000
"""Time of every answer, seconds since 1970: fixed, so that two runs send the same bytes."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Hold how one path answers.

    Attributes:
        whole: Makes the single object.
        events: Makes the events of a stream; the flag asks for usage at its end.
        done: What closes a stream; empty where its last event does.
    """

    whole: Callable[[Completion], JSONObject]
    events: Callable[[Completion, bool], Iterator[JSONObject]]
    done: str = "[DONE]"


def _chat(said: Completion) -> JSONObject:
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": text, **_extras(said)},
            "logprobs": None,
            "finish_reason": said.finish_reason,
        }
        for index, text in enumerate(said.texts)
    ]
    return {**_chat_head(said, "chat.completion"), "choices": choices, **_usage(said)}


def _chat_events(said: Completion, with_usage: bool) -> Iterator[JSONObject]:
    head = _chat_head(said, "chat.completion.chunk")
    for index, pieces in enumerate(said.pieces):
        for delta in _deltas(said, pieces):
            yield {**head, "choices": [_delta_choice(index, delta, None)]}
        yield {**head, "choices": [_delta_choice(index, {}, said.finish_reason)]}
    if with_usage:
        yield {**head, "choices": [], **_usage(said)}


def _deltas(said: Completion, pieces: Iterable[str]) -> Iterator[JSONObject]:
    yield {"role": "assistant", "content": None if said.tool_calls and not pieces else ""}
    for piece in words(said.reasoning):
        yield {"reasoning_content": piece}
    for piece in pieces:
        yield {"content": piece}
    for index, call in enumerate(said.tool_calls):
        name = {"name": call["function"]["name"], "arguments": ""}
        yield {"tool_calls": [{"index": index, **call, "function": name}]}
        for piece in words(call["function"]["arguments"]):
            yield {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}


def _delta_choice(index: int, delta: JSONObject, finish_reason: str | None) -> JSONObject:
    return {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish_reason}


def _chat_head(said: Completion, kind: str) -> JSONObject:
    return {
        "id": f"chatcmpl-{said.number}",
        "object": kind,
        "created": CREATED_S,
        "model": said.model,
    }


def _extras(said: Completion) -> JSONObject:
    extras: JSONObject = {}
    if said.reasoning is not None:
        extras["reasoning_content"] = said.reasoning
    if said.tool_calls:
        extras["tool_calls"] = list(said.tool_calls)
    return extras


def _usage(said: Completion) -> JSONObject:
    if said.usage is None:
        spent = said.input_tokens, said.output_tokens
        names = ("prompt_tokens", "completion_tokens", "total_tokens")
        return {"usage": dict(zip(names, (*spent, sum(spent)), strict=True))}
    return {"usage": dict(said.usage)} if said.usage else {}


def _text(said: Completion) -> JSONObject:
    choices = [
        _text_choice(index, text or "", said.finish_reason) for index, text in enumerate(said.texts)
    ]
    return {**_text_head(said), "choices": choices, **_usage(said)}


def _text_events(said: Completion, with_usage: bool) -> Iterator[JSONObject]:
    head = _text_head(said)
    for index, pieces in enumerate(said.pieces):
        for piece in pieces:
            yield {**head, "choices": [_text_choice(index, piece, None)]}
        yield {**head, "choices": [_text_choice(index, "", said.finish_reason)]}
    if with_usage:
        yield {**head, "choices": [], **_usage(said)}


def _text_choice(index: int, text: str, finish_reason: str | None) -> JSONObject:
    return {"index": index, "text": text, "logprobs": None, "finish_reason": finish_reason}


def _text_head(said: Completion) -> JSONObject:
    return {
        "id": f"cmpl-{said.number}",
        "object": "text_completion",
        "created": CREATED_S,
        "model": said.model,
    }


def _response(said: Completion) -> JSONObject:
    return {
        **_response_head(said, "completed"),
        "output": _response_output(said),
        **_response_usage(said),
    }


def _response_events(said: Completion, with_usage: bool) -> Iterator[JSONObject]:
    del with_usage  # the last event of this endpoint always has it
    for number, event in enumerate(_unnumbered_events(said)):
        yield {**event, "sequence_number": number}


def _unnumbered_events(said: Completion) -> Iterator[JSONObject]:
    started: JSONObject = {**_response_head(said, "in_progress"), "output": []}
    yield {"type": "response.created", "response": started}
    for index, item in enumerate(_response_output(said)):
        yield {"type": "response.output_item.added", "output_index": index, "item": item}
        yield from _item_events(said, index, item)
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": "response.completed", "response": _response(said)}


def _item_events(said: Completion, index: int, item: JSONObject) -> Iterator[JSONObject]:
    place = {"item_id": item["id"], "output_index": index}
    if item["type"] == "message":
        place |= {"content_index": 0, "logprobs": []}
        for piece in said.pieces[0]:
            yield {"type": "response.output_text.delta", **place, "delta": piece}
        text = said.texts[0]
        yield {"type": "response.output_text.done", **place, "text": text}
    elif item["type"] == "function_call":
        kind = "response.function_call_arguments"
        for piece in words(item["arguments"]):
            yield {"type": f"{kind}.delta", **place, "delta": piece}
        yield {"type": f"{kind}.done", **place, "arguments": item["arguments"]}


def _response_output(said: Completion) -> list[JSONObject]:
    items: list[JSONObject] = []
    if said.reasoning is not None:
        summary = [{"type": "summary_text", "text": said.reasoning}]
        items.append({"type": "reasoning", "id": f"rs_{said.number}", "summary": summary})
    if said.texts and said.texts[0] is not None:
        part: JSONObject = {"type": "output_text", "text": said.texts[0], "annotations": []}
        message = {"type": "message", "id": f"msg_{said.number}", "role": "assistant"}
        items.append({**message, "status": "completed", "content": [part]})
    for at, call in enumerate(said.tool_calls, 1):
        made = {"type": "function_call", "id": f"fc_{said.number}_{at}", "call_id": call["id"]}
        items.append({**made, **call["function"], "status": "completed"})
    return items


def _response_head(said: Completion, status: str) -> JSONObject:
    return {
        "id": f"resp_{said.number}",
        "object": "response",
        "created_at": CREATED_S,
        "model": said.model,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "parallel_tool_calls": True,
        "tool_choice": "auto",
        "tools": [],
    }


def _response_usage(said: Completion) -> JSONObject:
    if said.usage is None:
        spent = said.input_tokens, said.output_tokens
        names = ("input_tokens", "output_tokens", "total_tokens")
        counted: JSONObject = dict(zip(names, (*spent, sum(spent)), strict=True))
        counted["input_tokens_details"] = {"cached_tokens": 0}
        counted["output_tokens_details"] = {"reasoning_tokens": len((said.reasoning or "").split())}
        return {"usage": counted}
    return {"usage": dict(said.usage)} if said.usage else {}


ENDPOINTS = {
    "/v1/chat/completions": Endpoint(_chat, _chat_events),
    "/v1/completions": Endpoint(_text, _text_events),
    "/v1/responses": Endpoint(_response, _response_events, done=""),
}
"""The endpoints that answer from the script, by path."""
