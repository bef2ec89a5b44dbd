"""`JSONAdapter`: the answer is one JSON object."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

import json_repair

from nbtool.adapters import values
from nbtool.adapters.base import Adapter, Fields, complete_demos, described
from nbtool.adapters.schema import output_schema
from nbtool.errors import AdapterParseError, LMInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.lm.base import BaseLM, Message
    from nbtool.signatures.signature import Signature


class JSONAdapter(Adapter):
    """Ask for one JSON object with a key for every output field.

    A model that can be held to a JSON schema is held to the signature's; others are asked for
    any JSON object. A provider that refuses both is asked again without.
    """

    async def acall(
        self,
        lm: BaseLM,
        lm_kwargs: Fields,
        signature: type[Signature],
        demos: Iterable[Mapping[str, Any]],
        inputs: Fields,
    ) -> list[Fields]:
        """Ask an LM and read its answers; see `Adapter.acall`."""
        try:
            return await super().acall(lm, lm_kwargs, signature, demos, inputs)
        except LMInvalidRequestError as error:
            if "response_format" not in str(error) or "response_format" in lm_kwargs:
                raise
        plain = {"response_format": None, **lm_kwargs}
        return await super().acall(lm, plain, signature, demos, inputs)

    def request_options(self, lm: BaseLM, signature: type[Signature], inputs: Fields) -> Fields:  # noqa: ARG002 - an adapter's seam
        """Hold the model to the signature's JSON schema, or to any object."""
        if not lm.supports_response_schema:
            return {"response_format": {"type": "json_object"}}
        answer = {"name": "answer", "schema": output_schema(signature)}
        return {"response_format": {"type": "json_schema", "json_schema": answer}}

    def format(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        """Write the messages of one request; see `Adapter.format`."""
        messages: list[Message] = [{"role": "system", "content": self._system(signature)}]
        for demo in complete_demos(signature, demos):
            answered = {name: values.as_json(demo[name]) for name in signature.output_fields}
            asked = self.format_user_message_content(signature, dict(demo))
            messages += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": json.dumps(answered, ensure_ascii=False)},
            ]
        question = self.format_user_message_content(signature, inputs)
        names = ", ".join(f"`{name}`" for name in signature.output_fields)
        question += f"\n\nAnswer with one JSON object that has the keys {names}, in this order."
        return [*messages, {"role": "user", "content": question}]

    def format_user_message_content(self, signature: type[Signature], inputs: Fields) -> str:
        """Write only the inputs; see `Adapter.format_user_message_content`."""
        given = {name: inputs[name] for name in signature.input_fields if name in inputs}
        return "\n\n".join(
            f"[[ ## {name} ## ]]\n{values.as_text(value)}" for name, value in given.items()
        )

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Read the output fields out of an answer; see `Adapter.parse`."""
        found = loads_object(completion)
        if found is None:
            raise AdapterParseError(
                type(self).__name__,
                signature,
                completion,
                f"{type(self).__name__} could not read the answer: it has no JSON object.",
                hint="Ask again, give demos, or use a larger model.",
            )
        return self.typed(signature, found, completion)

    def _system(self, signature: type[Signature]) -> str:
        inputs = [f"- {described(n, f)}" for n, f in signature.input_fields.items()]
        outputs = [f"- {described(n, f)}" for n, f in signature.output_fields.items()]
        return "\n".join(
            [
                signature.instructions,
                "",
                "What you are given, each below a marker line with its name:",
                *inputs,
                "",
                "What you write, as the keys of one JSON object:",
                *outputs,
                "",
                "The object follows this JSON schema:",
                json.dumps(output_schema(signature), ensure_ascii=False),
            ]
        )


def loads_object(text: str) -> dict[str, Any] | None:
    """Read the JSON object in an answer, slightly mended; None without one."""
    start = text.find("{")
    if start < 0:
        return None
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = json_repair.loads(text[start:])
    if isinstance(found, list):
        found = next(iter(cast("list[Any]", found)), None)
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
