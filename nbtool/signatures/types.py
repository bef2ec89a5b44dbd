"""Types of field values that are more than text: the base for custom ones, and `History`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, get_args

from pydantic import BaseModel, ConfigDict

if TYPE_CHECKING:
    from nbtool.signatures.signature import Signature


class Type(BaseModel):
    """Be the base of types that decide themselves how a prompt shows them.

    A subclass says in `format` what the language model gets instead of the value's JSON. What
    `format` raises reaches the caller as it is.

    Example:
        >>> class Recipe(Type):
        ...     steps: list[str]
        ...
        ...     def format(self):
        ...         return "; then ".join(self.steps)
        >>> Recipe(steps=["boil", "salt"]).format()
        'boil; then salt'

    Source:
        Names of the methods as in DSPy's class of that name.
    """

    def format(self) -> str | dict[str, Any] | list[dict[str, Any]]:
        """Show the value to the language model.

        Returns:
            Text; or JSON; or content parts in the form of OpenAI's chat messages, such as
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

    @classmethod
    def extract_custom_type_from_annotation(cls, annotation: Any) -> list[type[Self]]:
        """Find the types of this class inside of an annotation, however deep.

        Args:
            annotation: Any type, e.g. ``list[dict[str, Image]]``.
        """
        if isinstance(annotation, type) and issubclass(annotation, cls):
            return [annotation]
        inside = map(cls.extract_custom_type_from_annotation, get_args(annotation))
        return [found for each in inside for found in each]

    @classmethod
    def adapt_to_native_lm_feature(
        cls,
        signature: type[Signature],
        field_name: str,  # noqa: ARG003 - for subclasses
        lm: Any,  # noqa: ARG003 - as above
        lm_kwargs: dict[str, Any],  # noqa: ARG003 - as above
    ) -> type[Signature]:
        """Let a feature of the LM give an output field, instead of the answer's text.

        Called for output fields of the types in an adapter's ``native_response_types``.

        Args:
            signature: What is asked.
            field_name: The output field of this type.
            lm: Whom to ask.
            lm_kwargs: Options of the request; may be changed.

        Returns:
            The signature to write the prompt of: without the field, where the LM gives it.
        """
        return signature

    @classmethod
    def parse_lm_response(cls, response: str | dict[str, Any]) -> Self | None:  # noqa: ARG003 - as above
        """Read a value of this type out of what an LM returned beside its text.

        Args:
            response: One output of the LM: text, or a dict with ``text`` and what else there is.

        Returns:
            None where there is none.
        """
        return None


class History(BaseModel):
    """Hold the earlier turns of a conversation, as the value of an input field.

    Attributes:
        messages: Oldest first; each maps the names of a signature's fields to their values in
            that turn.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> lm = DummyLM([{"answer": "Paris"}])
        >>> chat = nbtool.Predict("question, history: nbtool.History -> answer")
        >>> told = History(messages=[{"question": "Hi!", "answer": "Hello."}])
        >>> chat(question="Capital of France?", history=told, lm=lm).answer
        'Paris'
        >>> [turn["role"] for turn in lm.history[-1]["messages"]]
        ['system', 'user', 'assistant', 'user']
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    messages: list[dict[str, Any]]
