"""Worked examples and earlier turns as chat messages."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from pydantic import TypeAdapter, ValidationError

from nbtool.adapters.content import END_NAME, Content, escaped, joined
from nbtool.adapters.reading import allows_none
from nbtool.adapters.values import as_json, as_text, json_text
from nbtool.errors import InputError
from nbtool.signatures.remembered import once_for_each_signature
from nbtool.signatures.types import History, Type
from nbtool.tools.calls import ToolCallResults, ToolCalls

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbtool.adapters.base import Adapter
    from nbtool.lm.base import Message
    from nbtool.signatures.signature import Signature

Turn = Mapping[str, Any]

_PARTIAL_DEMO = "An example that shows only some of the fields."
_NOT_IN_DEMO = "Not part of this example."
_NOT_IN_TURN = "Not kept of this turn."
_RESULTS_NAME = "tool_call_results"
_SAVED_PARTS = re.compile(
    r"<<CUSTOM-TYPE-START-IDENTIFIER>>(.*?)<<CUSTOM-TYPE-END-IDENTIFIER>>", re.DOTALL
)


# -- worked examples -----------------------------------------------------------------------------


def complete_demos(signature: type[Signature], demos: Iterable[Turn]) -> list[Turn]:
    """Return the demos that have a value for every output field.

    Args:
        signature: Names the fields.
        demos: Values of input and output fields by name.
    """
    return [demo for demo in demos if _has_all(demo, signature, signature.output_fields)]


def demo_turns(
    adapter: Adapter, signature: type[Signature], demos: Iterable[Turn]
) -> list[Message]:
    """Write demos as turns, the ones with all fields last.

    Args:
        adapter: Writes the turns.
        signature: Names the fields.
        demos: Values of input and output fields by name. One that lacks some fields is shown as
            such an example; one without any input or any output is left out.
    """
    wanted = [name for name, f in signature.fields.items() if f.annotation is not History]
    partial: list[Message] = []
    whole: list[Message] = []
    for demo in demos:
        if _has_all(demo, signature, wanted):
            whole += _demo(adapter, signature, demo, "")
        elif _has_any(demo, signature.input_fields) and _has_any(demo, signature.output_fields):
            partial += _demo(adapter, signature, demo, _PARTIAL_DEMO)
    return partial + whole


def _demo(adapter: Adapter, signature: type[Signature], demo: Turn, prefix: str) -> list[Message]:
    asked = adapter.format_user_message_content(signature, _trusted(signature, demo), prefix)
    answered = adapter.format_assistant_message_content(signature, dict(demo), _NOT_IN_DEMO)
    return [_turn("user", asked), _turn("assistant", answered)]


def _has_all(demo: Turn, signature: type[Signature], names: Iterable[str]) -> bool:
    fields = signature.fields
    return all(
        name in demo and (demo[name] is not None or allows_none(fields[name].annotation))
        for name in names
    )


def _has_any(demo: Turn, names: Iterable[str]) -> bool:
    return any(name in demo for name in names)


def _trusted(signature: type[Signature], demo: Turn) -> dict[str, Any]:
    """Return the inputs of a demo, which come from the program or its saved state.

    So their own markers are meant, as in a trajectory; and a custom type may stand there as the
    JSON of a state, or as the text that DSPy's states have in its place.
    """
    values: dict[str, Any] = {}
    names = {*signature.fields, END_NAME}
    for name, field in signature.input_fields.items():
        if name in demo:
            value = _restored(demo[name], field.annotation)
            is_plain = isinstance(value, str) and not isinstance(value, Content)
            values[name] = escaped(value, names) if is_plain else value
    return values


def _restored(value: Any, annotation: Any) -> Any:
    if not Type.extract_custom_type_from_annotation(annotation):
        return value
    if isinstance(value, str):
        pieces = _SAVED_PARTS.split(value)
        return Content(*(p for at, piece in enumerate(pieces) for p in _pieces(piece, at % 2)))
    try:
        return TypeAdapter[Any](annotation).validate_python(value)
    except ValidationError:
        return value


def _pieces(piece: str, is_saved: int) -> list[Any]:
    if not is_saved:
        return [escaped(piece)]
    try:
        parts: Any = json.loads(piece)
    except ValueError:
        parts = None
    readable = isinstance(parts, list) and all(isinstance(p, dict) for p in cast("Any", parts))
    return cast("list[Any]", parts) if readable else [escaped(piece)]


# -- earlier turns -------------------------------------------------------------------------------


@once_for_each_signature
def history_field(signature: type[Signature]) -> str | None:
    """Return the input field that holds the earlier turns, if there is one.

    Args:
        signature: What is asked.
    """
    fields = signature.input_fields.items()
    return next((name for name, field in fields if field.annotation is History), None)


def history_of(given: Any) -> list[Turn]:
    """Return the earlier turns, oldest first.

    Args:
        given: A `History`, its messages, what its JSON was, or None.

    Raises:
        InputError: It is something else.
    """
    if given is None:
        return []
    try:
        messages = cast("Any", {"messages": given} if isinstance(given, list) else given)
        return list(History.model_validate(messages).messages)
    except ValidationError as error:
        raise InputError(
            f"The history of a conversation cannot be read from {given!r:.200}.",
            hint="Pass History(messages=[{field: value, ...}, ...]).",
        ) from error


def history_turns(
    adapter: Adapter, signature: type[Signature], history: Iterable[Turn]
) -> list[Message]:
    """Write earlier turns as they were asked and answered.

    Args:
        adapter: Writes the turns.
        signature: What is asked, without the history.
        history: Turns, oldest first; what is no field of the signature is left out.
    """
    messages: list[Message] = []
    for turn in history:
        if _has_any(turn, signature.input_fields):
            # With the reminder, as it was sent then: providers find their cached prefix again.
            asked = adapter.format_user_message_content(signature, dict(turn), main_request=True)
            messages.append(_turn("user", asked))
        calls_field, calls = _calls_in(turn)
        is_asked_in_text = calls_field in signature.output_fields
        answered = ""
        if _has_any(turn, signature.output_fields):
            told = {name: value for name, value in turn.items() if name != calls_field}
            told |= {calls_field: calls} if is_asked_in_text else {}
            answered = adapter.format_assistant_message_content(signature, told, _NOT_IN_TURN)
        if calls is None or calls_field is None:
            messages += [_turn("assistant", answered)] if answered else []
        elif adapter.use_native_function_calling and not is_asked_in_text and _has_ids(calls):
            messages += _native_turns(calls, answered)
        else:
            shown = (
                "" if is_asked_in_text else adapter.section(signature, calls_field, as_text(calls))
            )
            messages.append(_turn("assistant", joined("\n\n", [answered, shown])))
            if calls.tool_call_results is not None:
                values = as_text(_results_of(calls))
                results = adapter.section(signature, _RESULTS_NAME, values)
                messages.append(_turn("user", results))
    return messages


def _calls_in(turn: Turn) -> tuple[str | None, ToolCalls | None]:
    for name, value in turn.items():
        if isinstance(value, ToolCalls) or (isinstance(value, dict) and "tool_calls" in value):
            try:
                calls = ToolCalls.model_validate(value)
                _results_of(calls)
            except ValidationError:  # of another meaning, or damaged: a value like any other
                continue
            return name, calls
    return None, None


def _results_of(calls: ToolCalls) -> list[ToolCallResults.ToolCallResult]:
    if calls.tool_call_results is None:
        return []
    return ToolCallResults.model_validate(calls.tool_call_results).tool_call_results


def _has_ids(calls: ToolCalls) -> bool:
    """Tell whether each call has an id, and a result that refers to it."""
    ids = [call.id for call in calls.tool_calls]
    return bool(ids) and all(ids) and ids == [result.call_id for result in _results_of(calls)]


def _native_turns(calls: ToolCalls, answered: str) -> list[Message]:
    """Write calls and results as OpenAI's chat messages have them."""
    asked: list[Message] = [
        {
            "id": call.id,
            "type": "function",
            "function": {"name": call.name, "arguments": json_text(as_json(call.args))},
        }
        for call in calls.tool_calls
    ]
    results: list[Message] = [
        {
            "role": "tool",
            "tool_call_id": result.call_id,
            "name": result.name,
            "content": str(as_text(result.value)),
        }
        for result in _results_of(calls)
    ]
    return [{"role": "assistant", "content": answered or None, "tool_calls": asked}, *results]


def _turn(role: str, content: str) -> Message:
    return {"role": role, "content": content}
