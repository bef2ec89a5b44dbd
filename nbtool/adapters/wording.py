"""What prompts say about fields: name, type, meaning, limits, and the form of a value."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

from nbtool.adapters.schema import field_schema
from nbtool.adapters.values import json_text
from nbtool.signatures.annotations import type_text
from nbtool.signatures.fields import extras_of
from nbtool.signatures.remembered import once_for_each_text
from nbtool.signatures.types import Type

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

    from nbtool.signatures.signature import Signature

_SAID_BY_NAME = (str, int, float)


def described(name: str, field: FieldInfo) -> str:
    """Describe a field in one line: its name, type, meaning and limits.

    Args:
        name: The field's name.
        field: The field.
    """
    extras = extras_of(field)
    text = f"`{name}` ({type_text(field.annotation)})"
    own = [extras.get("desc")] if extras.get("desc") != f"${{{name}}}" else []
    if meant := "; ".join(filter(None, [*own, *_about_types(field.annotation)])):
        text += f": {meant}"
    if extras.get("constraints"):
        text += f" [{extras['constraints']}]"
    return text


@once_for_each_text
def field_descriptions(signature: type[Signature]) -> str:
    """Describe the fields, a line each, where markers tell inputs apart.

    Args:
        signature: Has the fields.
    """
    return listed_fields(signature, "each below a marker line with its name")


def listed_fields(signature: type[Signature], place: str) -> str:
    """Describe the fields, inputs and outputs, a line each.

    Args:
        signature: Has the fields.
        place: Where a value is found, as the rest of a sentence.
    """
    inputs = [f"- {described(n, f)}" for n, f in signature.input_fields.items()]
    outputs = [f"- {described(n, f)}" for n, f in signature.output_fields.items()]
    given = [f"What you are given, {place}:", *inputs]
    wanted = ["What you write:", *outputs]
    parts = (given if inputs else [], wanted if outputs else [])
    return "\n\n".join("\n".join(part) for part in parts if part)


def _about_types(annotation: Any) -> list[str]:
    """Return what custom types say of themselves, with their names where there may be several."""
    kinds = dict.fromkeys(Type.extract_custom_type_from_annotation(annotation))
    abouts = {kind: kind.description() for kind in kinds}
    return [
        about if annotation is kind else f"{kind.__name__}: {about}"
        for kind, about in abouts.items()
        if about
    ]


def form_of(field: FieldInfo) -> str:
    """Say in which form a value of an output field is written; empty says nothing.

    Args:
        field: The field.
    """
    annotation: Any = field.annotation
    if annotation in _SAID_BY_NAME or annotation is Any:
        return ""
    if annotation is bool:
        return "True or False"
    if get_origin(annotation) is Literal:
        return f"exactly one of: {_listed(get_args(annotation))}"
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return f"exactly one of: {_listed(tuple(member.value for member in annotation))}"
    if isinstance(annotation, type) and issubclass(annotation, Type) and annotation.description():
        return ""  # the description says it
    schema = field_schema(field)
    return f"JSON by this schema: {json_text(schema)}" if schema else ""


def placeholder(name: str, field: FieldInfo) -> str:
    """Stand for a value of a field where a prompt shows the form of an answer.

    Args:
        name: The field's name.
        field: The field.
    """
    form = form_of(field)
    return f"<{name}: {form}>" if form else f"<{name}>"


def _listed(choices: tuple[Any, ...]) -> str:
    return "; ".join(str(choice) for choice in choices)
