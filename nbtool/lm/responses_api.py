"""A chat request in the shape of OpenAI's Responses API.

Source:
    Field names as in OpenAI's API reference: Responses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

JSONObject = dict[str, Any]

_TEXT_TYPES = ("text", "input_text", "output_text")
_NAMED = ("properties", "$defs")  # their keys are names, not words of JSON Schema


def responses_request(chat: Mapping[str, Any]) -> JSONObject:
    """Rewrite the options of a chat request.

    Args:
        chat: Options as for Chat Completions: ``messages`` and others. ``input``, where it is
            given, is taken as it stands.

    Returns:
        Options as for the Responses API; what it has no other name for stays.
    """
    request = dict(chat)
    messages: list[JSONObject] = request.pop("messages", None) or []
    if "input" not in request:
        request["input"] = [item for message in messages for item in _items(message)]
    limit = request.pop("max_tokens", None) or request.pop("max_completion_tokens", None)
    if limit is not None:
        request["max_output_tokens"] = limit
    effort = request.pop("reasoning_effort", None)
    if effort is not None and request.get("reasoning") is None:
        request["reasoning"] = {"effort": effort, "summary": "auto"}
    if request.get("tools"):
        request["tools"] = [_tool(tool) for tool in request["tools"]]
    choice = request.get("tool_choice")
    if isinstance(choice, Mapping) and "function" in choice:
        name = cast("Mapping[str, Any]", choice)["function"]["name"]
        request["tool_choice"] = {"type": "function", "name": name}
    form = request.pop("response_format", None)
    if form is not None:
        request["text"] = {**(request.get("text") or {}), "format": _format(form)}
    return request


def _items(message: Mapping[str, Any]) -> list[JSONObject]:
    """Return the items that one chat turn becomes."""
    role, content = message.get("role"), message.get("content")
    if role == "tool":
        output = content if isinstance(content, str) else _joined(content)
        call_id = message.get("tool_call_id")
        return [{"type": "function_call_output", "call_id": call_id, "output": output}]
    calls = [_call(call) for call in message.get("tool_calls") or ()]
    parts = _parts(content, "output_text" if role == "assistant" else "input_text")
    return calls if calls and not parts else [{"role": role, "content": parts}, *calls]


def _parts(content: Any, text_type: str) -> list[JSONObject]:
    if isinstance(content, str):
        return [{"type": text_type, "text": content}]
    return [_part(part, text_type) for part in content or ()]


def _part(part: Mapping[str, Any], text_type: str) -> JSONObject:
    kind = part.get("type")
    if kind in _TEXT_TYPES:
        return {"type": text_type, "text": part.get("text") or ""}
    if kind == "image_url":
        image = part.get("image_url")
        given = cast("JSONObject", image) if isinstance(image, Mapping) else {"url": image}
        detail = {"detail": given["detail"]} if given.get("detail") else {}
        return {"type": "input_image", "image_url": given.get("url"), **detail}
    if kind == "file":
        return {"type": "input_file", **(part.get("file") or {})}
    return dict(part)


def _joined(content: Any) -> str:
    parts = cast("Sequence[JSONObject]", content or ())
    return "".join(str(part.get("text") or "") for part in parts)


def _call(call: Mapping[str, Any]) -> JSONObject:
    function: Mapping[str, Any] = call.get("function") or call
    return {
        "type": "function_call",
        "call_id": call.get("id") or call.get("call_id"),
        "name": function.get("name"),
        "arguments": function.get("arguments") or "{}",
    }


def _tool(tool: Mapping[str, Any]) -> JSONObject:
    function = tool.get("function")
    if not isinstance(function, Mapping):
        return dict(tool)
    rest = {name: value for name, value in tool.items() if name != "function"}
    return {**rest, **cast("Mapping[str, Any]", function), "type": "function"}


def _format(form: Any) -> Any:
    if isinstance(form, type) and issubclass(form, BaseModel):
        schema = _strict(form.model_json_schema())
        return {"type": "json_schema", "name": form.__name__, "schema": schema, "strict": True}
    given = cast("JSONObject", form)  # a dict, as everybody else writes it
    nested = given.get("json_schema")
    return {"type": "json_schema", **nested} if nested else given


def _strict(schema: Any) -> Any:
    """Return a schema as strict mode wants it: no other keys, and none may be missing."""
    if isinstance(schema, list):
        return [_strict(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    strict: JSONObject = {}
    for name, value in cast("JSONObject", schema).items():
        if name in _NAMED and isinstance(value, dict):
            named = cast("JSONObject", value)
            strict[name] = {key: _strict(item) for key, item in named.items()}
        elif name != "default":
            strict[name] = _strict(value)
    if isinstance(strict.get("properties"), dict):
        strict |= {"additionalProperties": False, "required": list(strict["properties"])}
    return strict
