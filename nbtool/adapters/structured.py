"""`JSONAdapter`: the answer is one JSON object."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from nbtool import mending
from nbtool.adapters.base import Adapter, Fields
from nbtool.adapters.reading import Reading
from nbtool.adapters.schema import output_schema, strict_schema
from nbtool.adapters.stream_readers import JSONReader
from nbtool.adapters.values import as_json, json_text
from nbtool.errors import MISUSE, LMError, LMInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbtool.adapters.native import Plan
    from nbtool.lm.base import BaseLM
    from nbtool.signatures.signature import Signature

_ANY_OBJECT = {"type": "json_object"}


class JSONAdapter(Adapter):
    """Ask for one JSON object with a key for every output field.

    A model that can be held to a JSON schema is held to the signature's, if that says all keys;
    others are asked for any JSON object. Where that does not lead to an answer that can be read,
    or the provider refuses it, the model is asked again with less.

    Args:
        callbacks: Watchers of this adapter.
        use_native_function_calling: As for `Adapter`, but by default it does.
        parallel_tool_calls: As for `Adapter`.

    Example:
        >>> from nbtool.signatures.signature import Signature
        >>> JSONAdapter().parse(Signature("question -> answer: int"), '{"answer": "42"}')
        {'answer': 42}

    Source:
        Names, call shapes and rules as DSPy's class of that name.
    """

    asks_again_with_less: ClassVar[bool] = True
    _shows_demos_alike = True

    def __init__(
        self,
        callbacks: list[Any] | None = None,
        use_native_function_calling: bool = True,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        super().__init__(
            callbacks, use_native_function_calling, parallel_tool_calls=parallel_tool_calls
        )

    async def _asked(self, lm: BaseLM, plan: Plan, demos: list[Mapping[str, Any]]) -> list[Fields]:
        form = self.request_options(lm, plan.signature, plan.inputs).get("response_format")
        if form is None or "response_format" in plan.options or not self.asks_again_with_less:
            return await super()._asked(lm, plan, demos)
        while True:
            held = plan.with_options(response_format=form)
            try:
                return await super()._asked(lm, held, demos)
            except Exception as error:
                if not _may_ask_again(error, form):
                    raise
            form = None if form == _ANY_OBJECT else _ANY_OBJECT

    def request_options(self, lm: BaseLM, signature: type[Signature], inputs: Fields) -> Fields:  # noqa: ARG002 - an adapter's seam
        """Hold the model to the signature's JSON schema, or to any object."""
        known = lm.supported_params
        if not signature.output_fields or (known and "response_format" not in known):
            return {}
        schema = strict_schema(signature) if lm.supports_response_schema else None
        if schema is None:
            return {"response_format": _ANY_OBJECT}
        answer = {"name": "answer", "strict": True, "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": answer}}

    def format_field_structure(self, signature: type[Signature]) -> str:
        """Show the JSON schema of the answer."""
        if not signature.output_fields:
            return ""
        how = "You write them as the keys of one JSON object, which follows this JSON schema:"
        return f"{how}\n{json_text(output_schema(signature))}"

    def user_message_output_requirements(self, signature: type[Signature]) -> str:
        """Remind the model of the keys."""
        if not signature.output_fields:
            return ""
        names = ", ".join(f"`{name}`" for name in signature.output_fields)
        return f"Answer with one JSON object that has the keys {names}, in this order."

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        """Write an answer; see `Adapter.format_assistant_message_content`."""
        answered: Fields = {}
        for name in signature.output_fields:
            if name in outputs:
                answered[name] = as_json(outputs[name])
            elif missing_field_message is not None:
                answered[name] = missing_field_message
        return json_text(mending.sound(answered))

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Read the output fields out of an answer; see `Adapter.parse`."""
        try:
            found = mending.loads_object(completion, signature.output_fields)
        except ValueError:
            what = "has no JSON object"
            raise self.unreadable(signature, completion, what, {}) from None
        return self.typed(signature, found, completion, Reading.parse_json)

    def __stream_reader__(self, inputs: Fields) -> JSONReader:
        """Make what tells the fields of an answer apart while it arrives."""
        return JSONReader(inputs["signature"])


def _may_ask_again(error: Exception, form: Fields | None) -> bool:
    """Decide whether less of a form may help: the provider refused it, or it led nowhere."""
    if form is None:
        return False
    if isinstance(error, LMInvalidRequestError) and "response_format" in str(error):
        return True
    return form != _ANY_OBJECT and not isinstance(error, (LMError, TypeError, *MISUSE))
