"""`TwoStepAdapter`: one model answers in prose, another one reads the fields out of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.adapters import native
from nbtool.adapters.base import Adapter, Fields
from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.content import Content, joined
from nbtool.adapters.values import as_text
from nbtool.adapters.wording import listed_fields
from nbtool.errors import AdapterParseError, LMConfigurationError
from nbtool.runtime.door import run
from nbtool.signatures.fields import InputField
from nbtool.signatures.remembered import once_for_each_text
from nbtool.signatures.signature import Signature

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtool.lm.base import BaseLM
    from nbtool.lm.responses import Output


class TwoStepAdapter(Adapter):
    """Let a model answer as it likes, and have another one write down the fields.

    It is for models that think well and keep to a form badly. The first request asks for prose;
    each answer then goes to the extraction model, through a `ChatAdapter` and without demos. The
    options of a call (``temperature=...``) are the first request's.

    Args:
        extraction_model: Who reads the fields out of an answer; a small model will do.
        **kwargs: As for `Adapter`.

    Raises:
        LMConfigurationError: `extraction_model` is no LM.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> thinker = DummyLM([{"text": "Let me see. 6 * 7 makes 42."}])
        >>> adapter = TwoStepAdapter(DummyLM([{"answer": "42"}]))
        >>> with nbtool.context(lm=thinker, adapter=adapter):
        ...     nbtool.Predict("question -> answer: int")(question="6 * 7?").answer
        42

    Source:
        Name, arguments and the two requests as DSPy's class of that name.
    """

    def __init__(self, extraction_model: BaseLM, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(extraction_model, type) or not hasattr(extraction_model, "ready"):
            raise LMConfigurationError(
                f"extraction_model must be an instance of BaseLM; it is {extraction_model!r}.",
                hint='Write TwoStepAdapter(nbtool.LM("openai/gpt-4o-mini")).',
            )
        self.extraction_model = extraction_model

    async def _asked(
        self, lm: BaseLM, plan: native.Plan, demos: list[Mapping[str, Any]]
    ) -> list[Fields]:
        messages = self._formatted(plan, demos)
        outputs = await lm.acall(messages=messages, **plan.options)
        return [await self._fields(plan, output) for output in outputs]

    async def _fields(self, plan: native.Plan, output: Output) -> Fields:
        """Have one answer read; what the provider gave beside its text needs no reading."""
        text = output if isinstance(output, str) else output.get("text") or ""
        found: Fields | AdapterParseError = {}
        if plan.signature.output_fields and text.strip():
            try:
                found = await self.aparse(plan.signature, text)
            except AdapterParseError as error:
                found = error

        def parse(_signature: type[Signature], _completion: str) -> Fields:
            if isinstance(found, AdapterParseError):
                raise found
            return found

        return native.fields_of(self, plan, output, parse)

    async def aparse(self, signature: type[Signature], completion: str) -> Fields:
        """Have the output fields read out of an answer by the extraction model.

        Args:
            signature: What was asked.
            completion: Text of the answer.

        Returns:
            Typed values of all output fields, in the signature's order.

        Raises:
            AdapterParseError: The extraction model did not find them.
            LMError: No usable answer came from it.
        """
        asked = _extraction(signature)
        inputs = {next(iter(asked.input_fields)): completion}
        try:
            found = await ChatAdapter().acall(self.extraction_model, {}, asked, [], inputs)
        except AdapterParseError as error:
            raise AdapterParseError(
                type(self).__name__,
                signature,
                completion,
                f"Failed to parse response from the original completion: {error.message}",
                error.parsed_result,
                hint="Use a larger extraction model, or describe the output fields.",
            ) from error
        return found[0]

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Have an answer read, from synchronous code; see `aparse`."""
        return run(self.aparse(signature, completion))

    # -- the first request ---------------------------------------------------------------------

    def format_field_description(self, signature: type[Signature]) -> str:
        """Describe the fields, a line each."""
        return _descriptions(signature)

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Ask for prose that has all that is wanted."""
        if not signature.output_fields:
            return ""
        return (
            "Answer in your own words and in any form. Somebody else will take what is wanted "
            "out of your answer, so say it in full and call it by its name."
        )

    def section(self, signature: type[Signature], name: str, text: str) -> Content:  # noqa: ARG002 - of the base
        """Write a value behind its name; see `Adapter.section`."""
        return Content(f"{name}: ", text)

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        """Write an answer; see `Adapter.format_assistant_message_content`."""
        told: list[str] = []
        for name in signature.output_fields:
            if name in outputs:
                told.append(self.section(signature, name, as_text(outputs[name])))
            elif missing_field_message is not None:
                told.append(self.section(signature, name, missing_field_message))
        return joined("\n\n", told)


@once_for_each_text
def _descriptions(signature: type[Signature]) -> str:
    return listed_fields(signature, "each behind its name")


@once_for_each_text
def _extraction(signature: type[Signature]) -> type[Signature]:
    """Make the signature that asks for the same fields, with a text as the only input."""
    outputs = signature.output_fields
    name = "text"
    while name in outputs:
        name = f"whole_{name}"
    wanted = ", ".join(f"`{output}`" for output in outputs)
    instructions = f"Take {wanted} out of `{name}`, in the words that stand there. Add nothing."
    return Signature({name: InputField(), **outputs}, instructions)
