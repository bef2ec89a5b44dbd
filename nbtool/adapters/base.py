"""`Adapter`: how a signature and inputs become messages, and an answer becomes fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.adapters import values
from nbtool.errors import AdapterParseError
from nbtool.tracing.boundary import traced_inline

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.lm.base import BaseLM, Message
    from nbtool.lm.responses import Output
    from nbtool.signatures.signature import Signature

Fields = dict[str, Any]


class Adapter:
    """Translate between a signature and an LM's messages.

    A subclass defines `format` and `parse`, both pure, and may hold the model to a form of
    answer by `request_options`. Asking the LM is the same for all of them.
    """

    def format(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        """Write the messages of one request.

        Args:
            signature: What is asked.
            demos: Worked examples: values of input and output fields by name.
            inputs: Values of the input fields by name.

        Returns:
            Chat turns, oldest first.
        """
        raise NotImplementedError

    def parse(self, signature: type[Signature], completion: str) -> Fields:
        """Read the output fields out of an answer.

        Args:
            signature: What was asked.
            completion: Text of the answer.

        Returns:
            Typed values of all output fields, in the signature's order.

        Raises:
            AdapterParseError: The answer does not have them.
        """
        raise NotImplementedError

    def request_options(self, lm: BaseLM, signature: type[Signature], inputs: Fields) -> Fields:  # noqa: ARG002 - for subclasses
        """Return options of the request that hold the model to this adapter's form."""
        return {}

    async def acall(
        self,
        lm: BaseLM,
        lm_kwargs: Fields,
        signature: type[Signature],
        demos: Iterable[Mapping[str, Any]],
        inputs: Fields,
    ) -> list[Fields]:
        """Ask an LM and read its answers.

        Args:
            lm: Whom to ask.
            lm_kwargs: Options of this request; they win over the adapter's.
            signature: What is asked.
            demos: Worked examples.
            inputs: Values of the input fields by name.

        Returns:
            The output fields, one dict per completion, in the provider's order.

        Raises:
            AdapterParseError: An answer does not have the fields.
            LMError: No usable answer came.
        """
        messages = self._formatted(signature, demos, inputs)
        await lm.ready()
        options = {**self.request_options(lm, signature, inputs), **lm_kwargs}
        outputs = await lm.acall(messages=messages, **options)
        return [self._parsed(signature, output) for output in outputs]

    def _formatted(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        given = {"signature": signature, "demos": list(demos), "inputs": inputs}
        return traced_inline(
            "adapter", f"{type(self).__name__}.format", self.format, given, subject=self
        )

    def _parsed(self, signature: type[Signature], output: Output) -> Fields:
        text = output if isinstance(output, str) else output.get("text") or ""
        given = {"signature": signature, "completion": text}
        return traced_inline(
            "adapter", f"{type(self).__name__}.parse", self.parse, given, subject=self
        )

    def typed(self, signature: type[Signature], raw: Mapping[str, Any], completion: str) -> Fields:
        """Turn raw field values into typed ones, in the signature's order.

        Args:
            signature: What was asked.
            raw: Text or JSON-like values by field name; other names are ignored.
            completion: The whole answer, for the error.

        Raises:
            AdapterParseError: A field is missing or is not of its type.
        """
        fields: Fields = {}
        for name, field in signature.output_fields.items():
            if name not in raw:
                raise self._unreadable(signature, completion, f"lacks the field {name!r}", fields)
            try:
                fields[name] = values.parse(raw[name], field.annotation)
            except ValueError as error:
                expected = values.type_name(field.annotation)
                what = f"has {raw[name]!r} in the field {name!r}, which is no {expected}"
                raise self._unreadable(signature, completion, what, fields) from error
        return fields

    def _unreadable(
        self, signature: type[Signature], completion: str, what: str, found: Fields
    ) -> AdapterParseError:
        return AdapterParseError(
            type(self).__name__,
            signature,
            completion,
            f"{type(self).__name__} could not read the answer: it {what}.",
            found,
            hint="Ask again, give demos, or use a larger model; max_tokens may have cut it off.",
        )

    def format_user_message_content(self, signature: type[Signature], inputs: Fields) -> str:
        """Write only the inputs, as the last user turn shows them.

        Args:
            signature: Names the input fields and their order.
            inputs: Their values by name; missing ones are left out.
        """
        raise NotImplementedError

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def described(name: str, field: Any) -> str:
    """Describe a field in one line of a prompt: its name, type, meaning and limits."""
    extra: dict[str, Any] = field.json_schema_extra or {}
    text = f"`{name}` ({values.type_name(field.annotation)})"
    meaning = extra.get("desc")
    if meaning and meaning != f"${{{name}}}":
        text += f": {meaning}"
    if extra.get("constraints"):
        text += f" [{extra['constraints']}]"
    return text


def complete_demos(
    signature: type[Signature], demos: Iterable[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return the demos that have a value for every output field."""
    return [demo for demo in demos if all(name in demo for name in signature.output_fields)]
