"""An answer with every default filled in, before an endpoint gives it a shape."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbtool.testing.answers import text_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbtool.testing.answers import Answer, Request


@dataclass(frozen=True, slots=True)
class Completion:
    """Hold what a model said, in no endpoint's shape yet.

    Attributes:
        number: The request's number, for ids.
        model: Name in the answer.
        texts: Content of each choice.
        pieces: The text of each choice as a stream cuts it.
        reasoning: Text of the reasoning, or None.
        tool_calls: OpenAI's nested form, arguments as JSON text.
        finish_reason: Why each choice ended.
        input_tokens: Words of the request.
        output_tokens: Words of all choices, reasoning and tool calls included.
        usage: Usage to send as it stands; None asks for a counted one.
    """

    number: int
    model: str
    texts: Sequence[str | None]
    pieces: Sequence[Sequence[str]]
    reasoning: str | None
    tool_calls: Sequence[dict[str, Any]]
    finish_reason: str
    input_tokens: int
    output_tokens: int
    usage: Mapping[str, Any] | None

    @classmethod
    def of(cls, answer: Answer, request: Request) -> Completion:
        """Fill in what an answer leaves open.

        Args:
            answer: The scripted answer.
            request: The request that it answers.

        Returns:
            The completion, the same for the same arguments.
        """
        texts = _texts(answer, request)
        calls = [_tool_call(call, request, at) for at, call in enumerate(answer.tool_calls)]
        said = [text or "" for text in texts] + [answer.reasoning or ""]
        said += [call["function"]["arguments"] for call in calls]
        return cls(
            number=request.number,
            model=answer.model or str(request.fields.get("model", "scripted")),
            texts=texts,
            pieces=[answer.chunks or words(text) for text in texts],
            reasoning=answer.reasoning,
            tool_calls=calls,
            finish_reason=answer.finish_reason or ("tool_calls" if calls else "stop"),
            input_tokens=sum(_count(turn.get("content")) for turn in request.messages),
            output_tokens=sum(map(_count, said)),
            usage=answer.usage,
        )


def words(text: str | None) -> list[str]:
    """Cut a text into words, each with the white space behind it.

    Args:
        text: Any text; None counts as empty.

    Returns:
        Pieces that make up the text again when joined.

    Example:
        >>> words("the capital  is Paris")
        ['the ', 'capital  ', 'is ', 'Paris']
    """
    return re.findall(r"\S+\s*|\s+", text or "")


def _texts(answer: Answer, request: Request) -> list[str | None]:
    text = "".join(answer.chunks) if answer.text is None and answer.chunks else answer.text
    if text is None or isinstance(text, str):
        asked = int(request.fields.get("n") or 1)
        return [text] * (asked if answer.n_choices is None else answer.n_choices)
    return list(text if answer.n_choices is None else text[: answer.n_choices])


def _tool_call(call: Mapping[str, Any], request: Request, at: int) -> dict[str, Any]:
    function = call.get("function", call)
    arguments = function.get("arguments", {})
    return {
        "id": call.get("id", f"call_{request.number}_{at + 1}"),
        "type": "function",
        "function": {
            "name": function["name"],
            "arguments": arguments if isinstance(arguments, str) else json.dumps(arguments),
        },
    }


def _count(content: object) -> int:
    return len(text_of(content).split())
