"""Reading OpenAI-like responses: of litellm, of users' own `BaseLM`, objects or dicts.

Chat and text completions have ``choices``; the Responses API has ``output``.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

Output = str | dict[str, Any]

_USAGE_NAMES = {  # the Responses API's names, and the ones that everybody else uses
    "prompt_tokens": "input_tokens",
    "completion_tokens": "output_tokens",
    "total_tokens": "total_tokens",
}
_OUT_OF_TOKENS = "max_output_tokens"


def get(thing: Any, name: str, default: Any = None) -> Any:
    """Read a field of an object or a dict."""
    if thing is None:
        return default
    if _is_mapping(cast("type[Any]", type(thing))):
        return thing.get(name, default)
    return getattr(thing, name, default)


@functools.lru_cache(maxsize=1_000)  # asked of a few types, twenty times an answer
def _is_mapping(kind: type[Any]) -> bool:
    return issubclass(kind, Mapping)


def outputs_of(response: Any) -> list[Output]:
    """Return one output per choice.

    Args:
        response: An OpenAI-like response.

    Returns:
        The text of each choice. Where one has more than text, all are dicts with ``text`` and
        what else there is: ``reasoning_content``, ``tool_calls``, ``logprobs``, ``citations``.
    """
    choices = [choice for choice in _list(get(response, "choices")) if _is_readable(choice)]
    if choices:
        outputs = [_of_choice(choice) for choice in choices]
    else:
        items = _list(get(response, "output"))
        outputs = [_of_items(items)] if items else []
    if any(len(output) > 1 for output in outputs):
        return list[Output](outputs)
    return [output["text"] if output["text"] is not None else "" for output in outputs]


def _is_readable(choice: Any) -> bool:
    """Tell whether a choice has what it should; a message's content may be null."""
    message = get(choice, "message")
    if message is None:
        return isinstance(get(choice, "text"), str)
    return isinstance(get(message, "content"), str | list | None)


def _of_choice(choice: Any) -> dict[str, Any]:
    message = get(choice, "message")
    said = get(message, "content") if message is not None else get(choice, "text")
    if said is None:
        said = get(message, "refusal")  # says why, where an answer would stand
    text = None if said is None else _text_in(said)
    more = {
        "reasoning_content": get(message, "reasoning_content"),
        "tool_calls": get(message, "tool_calls"),
        "logprobs": get(choice, "logprobs"),
        "citations": _citations_of(message),
    }
    return {"text": text, **{name: value for name, value in more.items() if value}}


def _text_in(content: Any) -> str:
    """Return the text of a content: text, or a list of parts."""
    if isinstance(content, list):
        parts = cast("list[Any]", content)
        return "".join(_text_in(get(part, "text") or "") for part in parts)
    return _sound(content) if isinstance(content, str) else ""


def _sound(text: str) -> str:
    """Return a text that can be printed and sent on: half characters are replaced."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _citations_of(message: Any) -> list[Any]:
    """Return what litellm passes on of a provider's citations, in one list.

    Source:
        ``provider_specific_fields`` as litellm fills it for Anthropic: a list for each block.
    """
    found: list[Any] = []
    for group in _list(get(get(message, "provider_specific_fields"), "citations")):
        found += _list(group) if isinstance(group, list | tuple) else [group]
    return found


def _of_items(items: Sequence[Any]) -> dict[str, Any]:
    """Put the items of a Responses API answer into the shape that a choice has.

    Source:
        Items as in OpenAI's API reference: Responses.
    """
    parts = [part for item in items for part in _parts(item, "message", "content")]
    texts = [get(part, "text") or get(part, "refusal") for part in parts]
    said = [_text_in(text) for text in texts if text is not None]
    thoughts = [
        part
        for item in items
        for part in (*_parts(item, "reasoning", "content"), *_parts(item, "reasoning", "summary"))
    ]
    more = {
        "reasoning_content": "".join(_text_in(get(part, "text") or "") for part in thoughts),
        "tool_calls": [_call_of(i) for i in items if get(i, "type") == "function_call"],
        "citations": [_plain(note) for part in parts for note in _list(get(part, "annotations"))],
    }
    text = "".join(said) if said else None
    return {"text": text, **{name: value for name, value in more.items() if value}}


def _parts(item: Any, kind: str, name: str) -> Iterator[Any]:
    if get(item, "type") == kind:
        yield from _list(get(item, name))


def _call_of(item: Any) -> dict[str, Any]:
    function = {"name": get(item, "name"), "arguments": get(item, "arguments")}
    return {"id": get(item, "call_id"), "type": "function", "function": function}


def _plain(thing: Any) -> dict[str, Any]:
    return dict(thing if isinstance(thing, Mapping) else vars(thing))  # pyright: ignore[reportUnknownArgumentType] - a provider's


def _list(value: Any) -> list[Any]:
    return list(cast("Sequence[Any]", value)) if isinstance(value, list | tuple) else []


def text_of(output: Output) -> str:
    """Return the text of one output."""
    return output if isinstance(output, str) else (output.get("text") or "")


def usage_of(response: Any) -> dict[str, int]:
    """Return the token counts of a response; none where it came out of a cache."""
    usage = get(response, "usage")
    counts: dict[str, int] = {}
    for name, other in _USAGE_NAMES.items():
        count = get(usage, name)
        if count is None:
            count = get(usage, other)
        if isinstance(count, int) and not isinstance(count, bool):
            counts[name] = count
    return counts


def tokens_of(response: Any) -> int | None:
    """Return all tokens of a response, prompt and answer; None where unknown."""
    usage = usage_of(response)
    parts = [usage[n] for n in ("prompt_tokens", "completion_tokens") if n in usage]
    return usage.get("total_tokens", sum(parts) if parts else None)


def cost_of(response: Any) -> float | None:
    """Return the price of a response in USD; None where unknown."""
    hidden = get(response, "_hidden_params")
    cost = get(hidden, "response_cost") if hidden is not None else None
    return float(cost) if isinstance(cost, int | float) else None


def finish_reasons_of(response: Any) -> list[str | None]:
    """Return why each choice ended, by OpenAI's words."""
    choices = _list(get(response, "choices"))
    if choices:
        return [get(choice, "finish_reason") for choice in choices]
    why = get(get(response, "incomplete_details"), "reason")
    return ["length" if why == _OUT_OF_TOKENS else why]
