"""What a debugger may set of an LM's step: its messages and its answers, checked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import LMConfigurationError

if TYPE_CHECKING:
    from nbtool.lm.responses import Output

_ROLES = ("system", "developer", "user", "assistant", "tool", "function")


def check_messages(prompt: Any, messages: Any) -> None:
    """Refuse what is no prompt, and no list of chat turns.

    Raises:
        LMConfigurationError: It is neither.
    """
    if messages is None:
        if not isinstance(prompt, str):
            raise LMConfigurationError(f"The prompt is {prompt!r:.100}, and no text.")
        return
    turns = cast("list[Any]", messages) if isinstance(messages, list) else []
    if not turns:
        raise LMConfigurationError("The messages are no list of chat turns, or an empty one.")
    for number, turn in enumerate(turns):
        named = cast("dict[str, Any]", turn) if isinstance(turn, dict) else {}
        content = named.get("content")
        if named.get("role") not in _ROLES or not isinstance(content, str | list | None):
            raise LMConfigurationError(
                f"Turn {number} is {turn!r:.100}; it needs a role, one of {_ROLES}, and a content."
            )


def outputs_of_edit(value: Any) -> list[Output]:
    """Make outputs, one per choice, of a text, of one output or of a list of them.

    Raises:
        LMConfigurationError: It is none of that.
    """
    outputs = cast("list[Any]", value) if isinstance(value, list) else [value]
    for output in outputs:
        text = cast("dict[str, Any]", output).get("text") if isinstance(output, dict) else output
        if not isinstance(text, str):
            raise LMConfigurationError(f"{output!r:.100} is no answer of an LM: that is a text.")
    if not outputs:
        raise LMConfigurationError("An LM gives at least one answer.")
    return outputs
