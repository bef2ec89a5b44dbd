"""Types of field values that are more than text: the base for custom ones, and `History`."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict


class Type(BaseModel):
    """Be the base of types that decide themselves how a prompt shows them.

    A subclass says in `format` what the language model gets instead of the value's JSON.
    """

    def format(self) -> str | list[dict[str, Any]]:
        """Show the value to the language model.

        Returns:
            Text, or content parts in the form of OpenAI's chat messages, such as
            ``{"type": "image_url", "image_url": {"url": ...}}``.

        Raises:
            NotImplementedError: The subclass does not define it.
        """
        message = f"{type(self).__name__} must define format() -> str | list[dict]"
        raise NotImplementedError(message)

    @classmethod
    def description(cls) -> str:
        """Say in a sentence what the type is, for the prompt; empty says nothing."""
        return ""


class History(BaseModel):
    """Hold the earlier turns of a conversation, as the value of an input field.

    Attributes:
        messages: Oldest first; each maps the names of a signature's fields to their values in
            that turn.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: list[dict[str, Any]]
