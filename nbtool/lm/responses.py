"""Reading OpenAI-like responses: of litellm, of users' own `BaseLM`, objects or dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

Output = str | dict[str, Any]


def get(thing: Any, name: str, default: Any = None) -> Any:
    """Read a field of an object or a dict."""
    if isinstance(thing, Mapping):
        return cast("Mapping[str, Any]", thing).get(name, default)
    return getattr(thing, name, default)


def outputs_of(response: Any) -> list[Output]:
    """Return one output per choice.

    Args:
        response: An OpenAI-like chat or text completion.

    Returns:
        The text of each choice; a dict with ``text`` and what else there is
        (``reasoning_content``, ``tool_calls``, ``logprobs``) where a choice has more than text.
    """
    choices = cast("Sequence[Any]", get(response, "choices") or ())
    return [_output_of(choice) for choice in choices]


def _output_of(choice: Any) -> Output:
    message = get(choice, "message")
    text = get(message, "content") if message is not None else get(choice, "text")
    more: dict[str, Any] = {}
    for name, source in (
        ("reasoning_content", message),
        ("tool_calls", message),
        ("logprobs", choice),
    ):
        value = get(source, name)
        if value:
            more[name] = value
    if not more:
        return text if text is not None else ""
    return {"text": text, **more}


def text_of(output: Output) -> str:
    """Return the text of one output."""
    return output if isinstance(output, str) else (output.get("text") or "")


def usage_of(response: Any) -> dict[str, int]:
    """Return the token counts of a response, by the provider's names."""
    usage = get(response, "usage")
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    counts = {name: get(usage, name) for name in names}
    return {name: count for name, count in counts.items() if isinstance(count, int)}


def cost_of(response: Any) -> float | None:
    """Return the price of a response in USD; None where unknown."""
    hidden = get(response, "_hidden_params")
    cost = get(hidden, "response_cost") if hidden is not None else None
    return float(cost) if isinstance(cost, (int, float)) else None


def finish_reasons_of(response: Any) -> list[str | None]:
    """Return why each choice ended, by OpenAI's words."""
    return [get(choice, "finish_reason") for choice in get(response, "choices") or ()]
