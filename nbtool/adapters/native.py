"""What a model gives beside its text: tool calls, and custom types that read them.

`planned` looks before a request which output fields the provider's own features will fill; the
prompt does not ask for these. `fields_of` puts both together after it.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, cast, get_args, get_origin

from nbtool.adapters.reading import allows_none, check_readable
from nbtool.errors import AdapterParseError, SignatureError
from nbtool.signatures.documents import Citations
from nbtool.signatures.reasoning import Reasoning
from nbtool.signatures.remembered import once_for_each_signature
from nbtool.signatures.types import Type
from nbtool.signatures.wording import default_instructions
from nbtool.tools.calls import ToolCalls, call_as_dict
from nbtool.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pydantic.fields import FieldInfo

    from nbtool.adapters.base import Adapter
    from nbtool.lm.base import BaseLM
    from nbtool.lm.responses import Output
    from nbtool.signatures.signature import Signature

Fields = dict[str, Any]

NATIVE_TYPES: tuple[type[Type], ...] = (Citations, Reasoning)
"""Types whose output fields a feature of the LM fills, where it has it, unless told otherwise."""

_OF_NATIVE_CALLS = frozenset({"tools", "tool_choice", "parallel_tool_calls"})


@dataclasses.dataclass(frozen=True, slots=True)
class Plan:
    """Hold what one request asks for.

    Attributes:
        signature: What the prompt asks for.
        whole: What is asked for in all.
        inputs: Values of the prompt's input fields.
        options: Options of the request.
        calls_field: The output field that is filled by the provider's tool calls, if any.
    """

    signature: type[Signature]
    whole: type[Signature]
    inputs: Fields
    options: Fields
    calls_field: str | None = None

    def with_options(self, **options: Any) -> Plan:
        """Return the plan with other options; they win over the ones it has."""
        return dataclasses.replace(self, options={**self.options, **options})


def planned(
    adapter: Adapter,
    lm: BaseLM,
    options: Mapping[str, Any],
    signature: type[Signature],
    inputs: Mapping[str, Any],
) -> Plan:
    """Decide what the prompt asks for and what the provider's features give.

    Args:
        adapter: Says which features may be used.
        lm: Says which features it has.
        options: Options of the request.
        signature: What is asked for in all.
        inputs: Values of its input fields.

    Raises:
        SignatureError: An output field has a type that no answer can fill; or tool calls are
            asked for, and no input field holds the tools.
    """
    check_readable(signature)
    plan = Plan(signature, signature, dict(inputs), dict(options))
    calls_field = _calls_field(signature)
    if calls_field is not None:
        plan = _with_calls(plan, adapter, lm, calls_field)
    for name, kind in _native_types(adapter, plan.signature).items():
        asked = kind.adapt_to_native_lm_feature(plan.signature, name, lm, plan.options)
        plan = dataclasses.replace(plan, signature=asked)
    if plan.signature is plan.whole:
        return plan
    return dataclasses.replace(plan, signature=_with_fitting_instructions(plan))


def _with_calls(plan: Plan, adapter: Adapter, lm: BaseLM, calls_field: str) -> Plan:
    if not adapter.use_native_function_calling:
        return _with_calls_in_text(plan)
    tools_field = _name_of(plan.whole.input_fields, Tool)
    if tools_field is None:
        raise SignatureError(
            f"You provided an output field {calls_field} to receive the tool calls information, "
            "but did not provide any tools as the input.",
            hint="Add an input field of the type `list[Tool]`.",
        )
    if not lm.supports_function_calling:
        return _with_calls_in_text(plan)
    options = dict(plan.options)
    if tools := _tools_in(plan.inputs.get(tools_field)):
        options["tools"] = [tool.format_as_litellm_function_call() for tool in tools]
        if options.get("parallel_tool_calls") is None:
            options["parallel_tool_calls"] = adapter.parallel_tool_calls
        if options["parallel_tool_calls"] is None:
            del options["parallel_tool_calls"]
        else:
            options.setdefault("tool_choice", "auto")
    asked = plan.whole.delete(calls_field).delete(tools_field)
    inputs = {name: value for name, value in plan.inputs.items() if name != tools_field}
    return Plan(asked, plan.whole, inputs, options, calls_field)


def _with_calls_in_text(plan: Plan) -> Plan:
    """Leave out options that providers refuse where no tools are given to them."""
    kept = {n: value for n, value in plan.options.items() if n not in _OF_NATIVE_CALLS}
    return dataclasses.replace(plan, options=kept)


def _with_fitting_instructions(plan: Plan) -> type[Signature]:
    """Let instructions that only list the fields list the ones in the prompt."""
    asked, whole = plan.signature, plan.whole
    if asked.instructions != _made_instructions(whole):
        return asked
    if not asked.output_fields:
        return asked.with_instructions("Call the tools that the fields below ask for.")
    return asked.with_instructions(_made_instructions(asked))


def _made_instructions(signature: type[Signature]) -> str:
    return default_instructions(signature.input_fields, signature.output_fields)


def _tools_in(given: Any) -> list[Tool]:
    tools = cast("list[Any]", given) if isinstance(given, (list, tuple)) else [given]
    return [t if isinstance(t, Tool) else Tool(t) for t in tools if t is not None]


def _name_of(fields: Mapping[str, FieldInfo], kind: type[Any]) -> str | None:
    return next((name for name, field in fields.items() if _is_of(field.annotation, kind)), None)


@once_for_each_signature
def _calls_field(signature: type[Signature]) -> str | None:
    return _name_of(signature.output_fields, ToolCalls)


def _is_of(annotation: Any, kind: type[Any]) -> bool:
    if get_origin(annotation) is list:
        return kind is Tool and get_args(annotation) == (Tool,)
    return annotation is kind


def _native_types(adapter: Adapter, signature: type[Signature]) -> dict[str, type[Type]]:
    custom = _custom_types(signature)
    if not custom:
        return custom
    natively = adapter.native_response_types
    chosen = NATIVE_TYPES if natively is None else natively
    return {name: kind for name, kind in custom.items() if kind in chosen}


@once_for_each_signature
def _custom_types(signature: type[Signature]) -> dict[str, type[Type]]:
    fields = {name: field.annotation for name, field in signature.output_fields.items()}
    return {
        name: kind
        for name, kind in fields.items()
        if isinstance(kind, type) and issubclass(kind, Type)
    }


# -- after the answer ----------------------------------------------------------------------------


def fields_of(
    adapter: Adapter, plan: Plan, output: Output, parse: Callable[[type[Signature], str], Fields]
) -> Fields:
    """Read all output fields out of one output of the LM.

    Args:
        adapter: Whose request it was.
        plan: What was asked.
        output: Text, or a dict with ``text`` and what else there is.
        parse: Reads the fields that the prompt asked for out of the text.

    Returns:
        Typed values in the signature's order; ``logprobs`` too, where they came.

    Raises:
        AdapterParseError: The output does not have them.
    """
    more: Fields = {} if isinstance(output, str) else output
    text = output if isinstance(output, str) else more.get("text") or ""
    calls = more.get("tool_calls") if plan.calls_field is not None else None
    found = _read(adapter, plan, text, parse, is_optional=bool(calls))
    if plan.calls_field is not None and calls:
        found[plan.calls_field] = _tool_calls(adapter, plan, calls, text)
    for name, kind in _native_types(adapter, plan.whole).items():
        value = kind.parse_lm_response(output)
        if value is not None:
            found[name] = value
    names = plan.whole.output_fields
    defaults = defaults_of(plan.whole) if names.keys() - found.keys() else {}
    fields = {name: found.get(name, defaults.get(name)) for name in names}
    return {**fields, **_log_probabilities(plan, more)}


def _log_probabilities(plan: Plan, more: Fields) -> Fields:
    is_wanted = more.get("logprobs") and "logprobs" not in plan.whole.output_fields
    return {"logprobs": more["logprobs"]} if is_wanted else {}


def _read(
    adapter: Adapter,
    plan: Plan,
    text: str,
    parse: Callable[[type[Signature], str], Fields],
    *,
    is_optional: bool,
) -> Fields:
    asked = plan.signature
    if not text.strip() and not is_optional:
        raise AdapterParseError(
            type(adapter).__name__,
            plan.whole,
            text,
            "The LM returned an empty or null response.",
            hint="Ask again; max_tokens may have left no room for the answer.",
        )
    if asked.output_fields and text.strip():
        try:
            return parse(asked, text)
        except AdapterParseError:
            if not is_optional:
                raise
    return defaults_of(asked)


def defaults_of(signature: type[Signature]) -> Fields:
    """Return the values of the output fields that an answer may leave out.

    Args:
        signature: What was asked. A field that has a default has that; one that may be None
            is None.
    """
    fields: Fields = {}
    for name, field in signature.output_fields.items():
        if not field.is_required():
            fields[name] = field.get_default(call_default_factory=True, validated_data=fields)
        elif allows_none(field.annotation):
            fields[name] = None
    return fields


def _tool_calls(adapter: Adapter, plan: Plan, calls: Any, text: str) -> ToolCalls:
    try:
        return ToolCalls.from_dict_list([call_as_dict(call) for call in calls])
    except ValueError as error:
        raise AdapterParseError(
            type(adapter).__name__,
            plan.whole,
            text or str(calls),
            f"The tool calls of the LM cannot be read: {error}",
            hint="Ask again; max_tokens may have cut off the arguments.",
        ) from error
