"""`Adapter`: how a signature and inputs become messages, and an answer becomes fields."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from pydantic import ValidationError

from nbtool.adapters import demo_memory, native, turns
from nbtool.adapters.content import Content, joined, message_content, section
from nbtool.adapters.reading import Reading, readings_of
from nbtool.adapters.values import as_text
from nbtool.adapters.wording import field_descriptions
from nbtool.errors import AdapterParseError
from nbtool.runtime.callables import waiting_method
from nbtool.signatures.annotations import type_text
from nbtool.tracing.boundary import traced_inline

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbtool.lm.base import BaseLM, Message
    from nbtool.runtime.pieces import Reader
    from nbtool.signatures.signature import Signature
    from nbtool.signatures.types import Type

Fields = dict[str, Any]

_SHOWN_CHARS = 200


class Adapter:
    """Translate between a signature and an LM's messages.

    A subclass defines how an answer looks: `format_field_structure`,
    `format_assistant_message_content` and `parse`; or all of `format` and `parse`. These are
    pure. It may hold the model to a form of answer by `request_options`. Asking the LM, worked
    examples, earlier turns and tool calls are the same for all of them.

    Args:
        callbacks: Watchers of this adapter.
        use_native_function_calling: Whether the provider's function calling fills an output
            field of type `ToolCalls`, where the LM has it; else the answer's text does.
        native_response_types: Custom types whose output fields a feature of the LM may fill: see
            `nbtool.Type.adapt_to_native_lm_feature`. By default `Reasoning` and `Citations`.
        parallel_tool_calls: Whether the model may ask for several tools at once; None leaves it
            to the provider.

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    callbacks: Sequence[Any] = ()
    use_native_function_calling: bool = False
    native_response_types: Sequence[type[Type]] | None = None
    parallel_tool_calls: bool | None = None

    # Stands in the body of each class whose turns of demos depend on the demos' values alone; it
    # is not inherited, for a user's subclass may show them as it likes.
    _shows_demos_alike: ClassVar[bool]

    def __init__(
        self,
        callbacks: list[Any] | None = None,
        use_native_function_calling: bool = False,
        native_response_types: list[type[Type]] | None = None,
        parallel_tool_calls: bool | None = None,
    ) -> None:
        self.callbacks = list(callbacks or ())
        self.use_native_function_calling = use_native_function_calling
        self.native_response_types = native_response_types
        self.parallel_tool_calls = parallel_tool_calls

    # -- asking --------------------------------------------------------------------------------

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
            The output fields, one dict per completion, in the provider's order; ``logprobs``
            too, where they were asked for.

        Raises:
            AdapterParseError: An answer does not have the fields.
            LMError: No usable answer came.
            SignatureError: The signature asks for what cannot be.
        """
        await lm.ready()
        plan = native.planned(self, lm, lm_kwargs, signature, inputs)
        return await self._asked(lm, plan, list(demos))

    __call__ = waiting_method(
        acall,
        "__call__",
        "Ask an LM and read its answers, from synchronous code; see `acall`.",
    )

    async def _asked(
        self, lm: BaseLM, plan: native.Plan, demos: list[Mapping[str, Any]]
    ) -> list[Fields]:
        """Make one request and read its answers."""
        messages = self._formatted(plan, demos)
        held = self.request_options(lm, plan.signature, plan.inputs)
        outputs = await lm.acall(messages=messages, **{**held, **plan.options})
        return [native.fields_of(self, plan, output, self._parsed) for output in outputs]

    def request_options(self, lm: BaseLM, signature: type[Signature], inputs: Fields) -> Fields:  # noqa: ARG002 - for subclasses
        """Return options of the request that hold the model to this adapter's form."""
        return {}

    def _formatted(self, plan: native.Plan, demos: list[Mapping[str, Any]]) -> list[Message]:
        given = {"signature": plan.signature, "demos": demos, "inputs": plan.inputs}
        return traced_inline(
            "adapter", f"{type(self).__name__}.format", self.format, given, subject=self
        )

    def _parsed(self, signature: type[Signature], completion: str) -> Fields:
        given = {"signature": signature, "completion": completion}
        return traced_inline(
            "adapter", f"{type(self).__name__}.parse", self.parse, given, subject=self
        )

    # -- the messages of a request -------------------------------------------------------------

    def format(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        """Write the messages of one request.

        Args:
            signature: What is asked.
            demos: Worked examples: values of input and output fields by name.
            inputs: Values of the input fields by name; earlier turns under the name of the field
                that has the type `History`.

        Returns:
            Chat turns, oldest first.
        """
        remembered = turns.history_field(signature)
        asked = signature if remembered is None else signature.delete(remembered)
        messages: list[Message] = []
        if system := self.format_system_message(asked):
            messages.append({"role": "system", "content": system})
        messages += self._demos_as_sent(signature, list(demos), inputs)
        given = dict(inputs)
        if remembered is not None:
            messages += self.format_conversation_history(asked, remembered, given)
            given.pop(remembered, None)
        content = self.format_user_message_content(asked, given, main_request=True)
        messages.append({"role": "user", "content": content})
        return [_as_sent(message) for message in messages]

    def _demos_as_sent(
        self, signature: type[Signature], demos: list[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        def write() -> list[Message]:
            return [_as_sent(turn) for turn in self._shown_demos(signature, demos, inputs)]

        if not demos or "_shows_demos_alike" not in vars(type(self)):
            return write()
        return demo_memory.remembered(type(self), signature, demos, write)

    def _shown_demos(
        self,
        signature: type[Signature],
        demos: Iterable[Mapping[str, Any]],
        inputs: Fields,  # noqa: ARG002 - for subclasses
    ) -> list[Message]:
        return self.format_demos(signature, demos)

    def format_system_message(self, signature: type[Signature]) -> str:
        """Write the system turn: what to do, with which fields, in which form."""
        parts = (
            self.format_task_description(signature),
            self.format_field_description(signature),
            self.format_field_structure(signature),
        )
        return "\n\n".join(filter(None, parts))

    def format_task_description(self, signature: type[Signature]) -> str:
        """Say what to do: the signature's instructions."""
        return signature.instructions

    def format_field_description(self, signature: type[Signature]) -> str:
        """Describe the fields, a line each."""
        return field_descriptions(signature)

    def format_field_structure(self, signature: type[Signature]) -> str:  # noqa: ARG002 - for subclasses
        """Say in which form the answer is written; by default nothing."""
        return ""

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: Fields,
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,
    ) -> str:
        """Write a user turn: each input below a marker line with its name.

        Args:
            signature: Names the input fields and their order.
            inputs: Their values by name; missing ones are left out.
            prefix: What stands before them.
            suffix: What stands behind them.
            main_request: Whether the turn ends with a reminder of the answer's form.

        Returns:
            Text. Where a value is more than text, such as an image, it is a string that carries
            it along, and names it.
        """
        names = [name for name in signature.input_fields if name in inputs]
        sections = [self.section(signature, name, as_text(inputs[name])) for name in names]
        reminder = self.user_message_output_requirements(signature) if main_request else ""
        return joined("\n\n", [prefix, *sections, reminder, suffix])

    def section(self, signature: type[Signature], name: str, text: str) -> Content:  # noqa: ARG002 - for subclasses
        """Write one value of a user turn, so that nothing in it passes for another one.

        Args:
            signature: What is asked.
            name: What the value is: mostly a field.
            text: The value; a `Content` is ready and has markers that are meant.
        """
        return section(name, text)

    def user_message_output_requirements(self, signature: type[Signature]) -> str:  # noqa: ARG002 - for subclasses
        """Remind the model of the answer's form; by default by nothing."""
        return ""

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Fields,
        missing_field_message: str | None = None,
    ) -> str:
        """Write an answer of the model, as `parse` reads it.

        Args:
            signature: Names the output fields and their order.
            outputs: Their values by name.
            missing_field_message: What stands for a missing one; by default it is left out.
        """
        raise NotImplementedError

    def format_demos(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]]
    ) -> list[Message]:
        """Write worked examples as turns, the ones that have all fields last."""
        return turns.demo_turns(self, signature, demos)

    def format_conversation_history(
        self, signature: type[Signature], history_field_name: str, inputs: Fields
    ) -> list[Message]:
        """Write the earlier turns of a conversation.

        Args:
            signature: What is asked, without the history.
            history_field_name: Under which name the inputs have it.
            inputs: Values of the input fields by name.
        """
        told = turns.history_of(inputs.get(history_field_name))
        return turns.history_turns(self, signature, told)

    # -- reading an answer ---------------------------------------------------------------------

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

    def typed(
        self,
        signature: type[Signature],
        raw: Mapping[str, Any],
        completion: str,
        read: Callable[[Reading, Any], Any] = Reading.parse,
    ) -> Fields:
        """Turn raw field values into typed ones, in the signature's order.

        Args:
            signature: What was asked. A field that has a default, or may be None, may be missing.
            raw: Text or JSON-like values by field name; other names are ignored.
            completion: The whole answer, for the error.
            read: Makes a value of what was given.

        Raises:
            AdapterParseError: A field is missing or is not of its type.
        """
        fields: Fields = {}
        defaults = native.defaults_of(signature)
        readings = readings_of(signature)
        for name, field in signature.output_fields.items():
            if name not in raw and name in defaults:
                fields[name] = defaults[name]
                continue
            if name not in raw:
                raise self.unreadable(signature, completion, f"lacks the field {name!r}", fields)
            try:
                fields[name] = read(readings[name], raw[name])
            except ValueError as error:
                expected = type_text(field.annotation)
                found = f"has {raw[name]!r:.{_SHOWN_CHARS}} in the field {name!r}"
                what = f"{found}, which is no {expected}{_reason(error)}"
                raise self.unreadable(signature, completion, what, fields) from error
        return fields

    def unreadable(
        self, signature: type[Signature], completion: str, what: str, found: Fields
    ) -> AdapterParseError:
        """Make the error that an answer cannot be read.

        Args:
            signature: What was asked.
            completion: The whole answer.
            what: What is wrong, as the rest of a sentence about the answer.
            found: The fields that were read before.
        """
        return AdapterParseError(
            type(self).__name__,
            signature,
            completion,
            f"{type(self).__name__} could not read the answer: it {what}.",
            found,
            hint="Ask again, give demos, or use a larger model; max_tokens may have cut it off.",
        )

    def __stream_reader__(self, inputs: Fields) -> Reader | None:
        """Make what tells the fields of an answer apart while it arrives; None: nothing does.

        Args:
            inputs: Arguments of `format`.
        """
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"


def _as_sent(message: Message) -> Message:
    content = message.get("content")
    return {**message, "content": message_content(content)} if isinstance(content, str) else message


def _reason(error: ValueError) -> str:
    """Say what is wrong with a value, where the name of its type does not."""
    if not isinstance(error, ValidationError):
        return ""
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f": {f'{place}: ' if place else ''}{first['msg']}"
