"""`Reasoning`: what a model thought, by its own feature or in the answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import model_serializer, model_validator

from nbtool.errors import InputError
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtool.signatures.signature import Signature

_EFFORT = "reasoning_effort"
_HIDING = "gpt-5"  # by Chat Completions these models do not show what they think


class Reasoning(Type):
    """Hold a model's reasoning, which can be used like a text.

    A model that thinks by itself is asked for it (``reasoning_effort``, ``"low"`` by default),
    and the prompt does without the field; another one writes it into its answer.

    Attributes:
        content: The text.

    Example:
        >>> thought = Reasoning("2+2 is 4.")
        >>> thought == "2+2 is 4.", thought.upper(), "4" in thought, thought + " So 4."
        (True, '2+2 IS 4.', True, '2+2 is 4. So 4.')

    Source:
        Names, call shapes and the rules for models as DSPy's class of that name.
    """

    content: str

    def __init__(self, source: Any = None, /, **fields: Any) -> None:
        super().__init__(**(fields if source is None else {"content": source, **fields}))

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: Any, handler: Any) -> Any:
        """Ask models for a text, not for an object with one."""
        return {"type": "string"}

    @classmethod
    def description(cls) -> str:
        """Say in a sentence what the type is."""
        return "the thoughts that lead to the answer, as text"

    def format(self) -> str:
        """Show the text."""
        return self.content

    @classmethod
    def adapt_to_native_lm_feature(
        cls, signature: type[Signature], field_name: str, lm: Any, lm_kwargs: dict[str, Any]
    ) -> type[Signature]:
        """Let a model that thinks by itself do so; see `Type.adapt_to_native_lm_feature`."""
        options: dict[str, Any] = {**getattr(lm, "kwargs", {}), **lm_kwargs}
        effort = options.get(_EFFORT, "low")
        is_hidden = _HIDING in lm.model and lm.model_type == "chat"
        if effort is None or is_hidden or not lm.supports_reasoning:
            return signature
        lm_kwargs[_EFFORT] = effort
        return signature.delete(field_name)

    @classmethod
    def parse_lm_response(cls, response: str | dict[str, Any]) -> Self | None:
        """Read what a model thought beside its answer."""
        thought = response.get("reasoning_content") if isinstance(response, dict) else None
        return cls(thought) if isinstance(thought, str) and thought else None

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        if isinstance(given, Reasoning):
            return {"content": given.content}
        text: Any = (
            cast("dict[str, Any]", given).get("content") if isinstance(given, dict) else given
        )
        if isinstance(text, Reasoning):
            return {"content": text.content}
        if not isinstance(text, str):
            raise InputError(f"{given!r:.100} is no reasoning.", hint="It is made of a text.")
        return {"content": text}

    @model_serializer
    def _as_text(self) -> str:
        return self.content

    # -- being a text --------------------------------------------------------------------------

    def __str__(self) -> str:
        return self.content

    def __repr__(self) -> str:
        return repr(self.content)

    def __eq__(self, other: object) -> bool:
        return self.content == (other.content if isinstance(other, Reasoning) else other)

    def __hash__(self) -> int:
        return hash(self.content)

    def __len__(self) -> int:
        return len(self.content)

    def __contains__(self, part: str) -> bool:
        return str(part) in self.content

    def __iter__(self) -> Iterator[str]:  # type: ignore[override] # pyright: ignore[reportIncompatibleMethodOverride] - letters, as DSPy's
        return iter(self.content)

    def __getitem__(self, at: Any) -> str:
        return self.content[at]

    def __add__(self, other: Any) -> Any:
        return self.content + str(other)

    def __radd__(self, other: Any) -> Any:
        return str(other) + self.content

    def __getattr__(self, name: str) -> Any:
        """Give the methods of texts."""
        if not name.startswith("_") and hasattr(str, name):
            return getattr(self.content, name)
        raise AttributeError(f"{type(self).__name__!r} has no attribute {name!r}")
