"""One request and its answers as text, for people: what `inspect_history` prints."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from nbtool.lm.responses import get

if TYPE_CHECKING:
    from nbtool.lm.responses import Output

_SHOWN_CHARS = 100  # of an address; a picture inside one would fill the screen


def transcript_of(entry: Mapping[str, Any]) -> str:
    """Write an entry of a history as text.

    Args:
        entry: As `nbtool.lm.history.entry_of` makes it, or a user's own with these names.

    Returns:
        Time and model, the turns, then the answers; pictures, sound and files as their size.
    """
    asked = entry.get("messages") or [{"role": "user", "content": entry.get("prompt")}]
    parts = [f"[{entry.get('timestamp', 'no time')}] {entry.get('model', '')}".rstrip()]
    parts += [_turn(message) for message in asked]
    parts += [f"answer:\n{_answer(output)}" for output in entry.get("outputs") or ()]
    return "\n\n".join(parts)


def _turn(message: Any) -> str:
    said = [_content(get(message, "content")), *_calls(get(message, "tool_calls"))]
    return f"{get(message, 'role', '?')}:\n" + "\n".join(filter(None, said))


def _answer(output: Output) -> str:
    if isinstance(output, str):
        return output
    thought = output.get("reasoning_content")
    said = [f"(reasoning) {thought}" if thought else "", output.get("text") or ""]
    return "\n".join(filter(None, [*said, *_calls(output.get("tool_calls"))]))


def _content(content: Any) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        return "\n".join(_part(part) for part in cast("Sequence[Any]", content))
    return str(content)


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    kind = str(get(part, "type", "part"))
    if get(part, "text") is not None:
        return str(get(part, "text"))
    inside = get(part, kind, part)
    if isinstance(inside, str):  # an address alone
        return f"<{kind}: {_short(inside)}>"
    if not isinstance(inside, Mapping):
        return f"<{kind}>"
    known = cast("Mapping[str, Any]", inside).items()
    facts = [f"{name}={_short(str(value))}" for name, value in known if name != "type"]
    return f"<{kind}: {', '.join(facts)}>"


def _short(text: str) -> str:
    if len(text) <= _SHOWN_CHARS:
        return text
    head = text.partition("base64,")[0] if text.startswith("data:") else ""
    return f"{head}… {len(text):,} characters"


def _calls(calls: Any) -> list[str]:
    if not isinstance(calls, Sequence) or isinstance(calls, str):
        return []
    return [_call(call) for call in cast("Sequence[Any]", calls)]


def _call(call: Any) -> str:
    function = get(call, "function") or call
    arguments = get(function, "arguments", get(function, "args"))
    if not isinstance(arguments, str):
        arguments = json.dumps(arguments, ensure_ascii=False, default=str)
    return f"tool call: {get(function, 'name', '?')} {arguments}"
