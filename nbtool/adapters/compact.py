"""`CompactAdapter`: short prompts and a JSON schema, for models of 100 to 500 million parameters.

What makes so small a model usable was measured on SmolLM2-135M (see ADR 7): no system message, one
line a field, an answer that cannot be anything but the signature's JSON object, every text bounded,
and two or three worked examples in whole sentences. Long format instructions derail it.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, cast

from nbtool.adapters.compact_demos import Demo, shown_demos, tool_demos
from nbtool.adapters.content import Content, joined
from nbtool.adapters.schema import bounded, output_schema
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.turns import complete_demos
from nbtool.adapters.values import as_json, as_text, json_text
from nbtool.signatures.wording import default_instructions

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from nbtool.adapters.base import Fields
    from nbtool.lm.base import BaseLM, Message
    from nbtool.signatures.signature import Signature

Schema = dict[str, Any]

_TRAJECTORY = "trajectory"
_THOUGHT, _TOOL, _ARGUMENTS = "next_thought", "next_tool_name", "next_tool_args"
_FINISH = "finish"
_WORD = re.compile(r"[^\W_]{4,}")
_THOUGHT_CHARS = 80


class CompactAdapter(JSONAdapter):
    """Ask a small model in few words and hold it to the signature's JSON schema.

    Where a predictor has no demos of its own, a few general ones are shown that fit the shape of
    the signature. A choice between tools is one object ``{tool, arguments}`` that follows the
    chosen tool's own schema; ``finish`` is offered once there is an observation.
    """

    asks_again_with_less: ClassVar[bool] = False  # without the schema it would be in vain

    def request_options(self, lm: BaseLM, signature: type[Signature], inputs: Fields) -> Fields:  # noqa: ARG002 - an adapter's seam
        """Hold the model to a schema in which every text and list is bounded."""
        tools = _tool_schemas(signature)
        if tools:
            schema = _choice_schema(tools, is_first=not inputs.get(_TRAJECTORY))
        else:
            schema = _ordered(bounded(output_schema(signature)), signature)
        answer = {"name": "answer", "schema": schema}
        return {"response_format": {"type": "json_schema", "json_schema": answer}}

    def format_system_message(self, signature: type[Signature]) -> str:
        """Say what the user wrote; the sentence made of field names would only distract."""
        if _tool_schemas(signature):
            return ""
        made = {
            default_instructions(signature.input_fields, outputs)
            for outputs in (signature.output_fields, _without_reasoning(signature))
        }
        inputs = [name for name in signature.input_fields if name != _TRAJECTORY]
        made.add(default_instructions(inputs, _without_reasoning(signature)))
        return "" if signature.instructions in made else signature.instructions

    def _shown_demos(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]], inputs: Fields
    ) -> list[Message]:
        """Write the predictor's own demos, or general ones where it has none."""
        own = self.format_demos(signature, demos)
        if own:
            return own
        messages: list[Message] = []
        for asked, answered in _general_demos(signature, _tool_schemas(signature), inputs):
            messages += [
                {"role": "user", "content": asked},
                {"role": "assistant", "content": json_text(answered)},
            ]
        return messages

    def format_demos(
        self, signature: type[Signature], demos: Iterable[Mapping[str, Any]]
    ) -> list[Message]:
        """Write the examples that have all output fields; others would mislead."""
        return super().format_demos(signature, complete_demos(signature, demos))

    def format_user_message_content(
        self,
        signature: type[Signature],
        inputs: Fields,
        prefix: str = "",
        suffix: str = "",
        main_request: bool = False,  # noqa: ARG002 - a small model needs no reminder: it is held
    ) -> str:
        """Write the inputs, a line each; see `Adapter.format_user_message_content`."""
        tools = _tool_schemas(signature)
        lines = [_tool_list(tools, inputs)] if tools else []
        for name in signature.input_fields:
            if name == _TRAJECTORY:
                lines += [as_text(inputs[name])] if inputs.get(name) else []
            elif name in inputs and not _is_of_a_turn(name):
                lines.append(Content(f"{name}: ", as_text(inputs[name])))
        return joined("\n", [prefix, *lines, *_turn_lines(inputs), suffix])

    def format_assistant_message_content(
        self,
        signature: type[Signature],
        outputs: Fields,
        missing_field_message: str | None = None,  # noqa: ARG002 - it would only be repeated
    ) -> str:
        """Write an answer; see `Adapter.format_assistant_message_content`."""
        shown = {name: as_json(outputs[name]) for name in _order(signature) if name in outputs}
        return json_text(shown)


def _without_reasoning(signature: type[Signature]) -> list[str]:
    return [name for name in signature.output_fields if name != "reasoning"]


def _general_demos(
    signature: type[Signature], tools: dict[str, Schema], inputs: Fields
) -> list[Demo]:
    if tools:
        return tool_demos(is_first=not inputs.get(_TRAJECTORY))
    outputs = {n: f for n, f in signature.output_fields.items() if n != "reasoning"}
    given = [name for name in signature.input_fields if name != _TRAJECTORY]
    is_one_text_each = len(given) == len(outputs) == 1 and all(
        field.annotation is str for field in outputs.values()
    )
    if not is_one_text_each:
        return []  # general demos of another shape would mislead more than they show
    return shown_demos(
        given[0],
        list(_order(signature)),
        after_tools=_TRAJECTORY in signature.input_fields,
    )


# -- the order of fields -------------------------------------------------------------------------


def _order(signature: type[Signature]) -> list[str]:
    """Return the output fields in the order in which the model shall write them.

    After tool calls the answer stands before the reasoning: it is read off what a tool gave, and a
    small model's reasoning first only leads it away (measured: 6 right of 10 against 10).
    """
    names = list(signature.output_fields)
    if _TRAJECTORY in signature.input_fields and "reasoning" in names:
        names.remove("reasoning")
        names.append("reasoning")
    return names


def _ordered(schema: Schema, signature: type[Signature]) -> Schema:
    properties = {name: schema["properties"][name] for name in _order(signature)}
    return {**schema, "properties": properties, "required": list(properties)}


# -- choosing a tool -----------------------------------------------------------------------------


def _tool_schemas(signature: type[Signature]) -> dict[str, Schema]:
    """Return what each tool takes and does, where the signature asks to choose one."""
    field = signature.output_fields.get(_ARGUMENTS)
    extra = cast("Schema", (field.json_schema_extra if field is not None else None) or {})
    return cast("dict[str, Schema]", extra.get("tool_schemas", {}))


def _offered(tools: dict[str, Schema], *, is_first: bool) -> dict[str, Schema]:
    """Leave ``finish`` out of the first turn: a small model would take it at once."""
    if not is_first:
        return tools
    return {name: tool for name, tool in tools.items() if name != _FINISH} or tools


def _choice_schema(tools: dict[str, Schema], *, is_first: bool) -> Schema:
    choices = [
        _choice(name, tool["args"], is_first=is_first)
        for name, tool in _offered(tools, is_first=is_first).items()
    ]
    return choices[0] if len(choices) == 1 else {"anyOf": choices}


def _choice(name: str, arguments: Schema, *, is_first: bool) -> Schema:
    required = [argument for argument, schema in arguments.items() if "default" not in schema]
    taken = bounded({name: schema for name, schema in arguments.items() if name in required})
    thought = {_THOUGHT: {"type": "string", "minLength": 1, "maxLength": _THOUGHT_CHARS}}
    call = {_TOOL: {"const": name}, _ARGUMENTS: _object(taken)}
    # A thought before the first call leads it astray; after an observation it helps to finish.
    return _object({**call, **thought} if is_first else {**thought, **call})


def _object(properties: Schema) -> Schema:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _tool_list(tools: dict[str, Schema], inputs: Fields) -> str:
    """Write a line per tool; the one that shares most words with the inputs comes last.

    A small model leans towards what it has just read: of two tools it took the last one whatever
    the question was (0 to 3 right of 6, where the right one came first).
    """
    lines: list[str] = []
    for name, tool in _offered(tools, is_first=not inputs.get(_TRAJECTORY)).items():
        about = f": {' '.join(tool['desc'].split())}" if tool["desc"] else ""
        lines.append(f"- {name}({', '.join(tool['args'])}){about}")
    asked = _words(" ".join(as_text(v) for n, v in inputs.items() if n != _TRAJECTORY))
    lines.sort(key=lambda line: len(_words(line) & asked))
    return "\n".join(["tools:", *lines])


def _words(text: str) -> set[str]:
    return set(_WORD.findall(text.lower()))


# -- what tools gave -----------------------------------------------------------------------------


def _is_of_a_turn(name: str) -> bool:
    return name.rsplit("_", 1)[0] in ("thought", "tool_name", "tool_args", "observation")


def _turn_lines(inputs: Fields) -> list[str]:
    """Write each turn of a trajectory as one line."""
    lines: list[str] = []
    for name, tool in inputs.items():
        if not name.startswith("tool_name_"):
            continue
        turn = name.removeprefix("tool_name_")
        arguments = cast("Fields", inputs.get(f"tool_args_{turn}") or {})
        given = ", ".join(f"{key}={as_text(value)}" for key, value in arguments.items())
        gave = as_text(inputs.get(f"observation_{turn}"))
        if tool != _FINISH:
            lines.append(f"{tool}({given}) gave: {gave}")
    return lines
