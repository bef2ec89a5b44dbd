"""What a signature says about itself: its instructions for want of better ones, its `repr`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtool.signatures.annotations import type_text
from nbtool.signatures.fields import extras_of, role_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pydantic.fields import FieldInfo

    from nbtool.signatures.declarations import Fields

_ROLES = ("input", "output")


def default_instructions(inputs: Iterable[str], outputs: Iterable[str]) -> str:
    """Say what to do in terms of the fields' names alone.

    Args:
        inputs: Names of the input fields.
        outputs: Names of the output fields.

    Source:
        DSPy's sentence, as its saved states contain it.
    """
    given, wanted = (", ".join(f"`{name}`" for name in names) for names in (inputs, outputs))
    if not given:
        return f"Produce the fields {wanted}."
    return f"Given the fields {given}, produce the fields {wanted}."


def code_of(name: str, fields: Fields, instructions: str, text_name: str) -> str:
    """Write a signature as the Python expression that a person would write for it.

    Args:
        name: Name of the signature.
        fields: All its fields, in order.
        instructions: Its instructions.
        text_name: The name of those that were made of a text; another is a class of the user's.
    """
    if name != text_name:
        return name
    inputs, outputs = _typed(fields, "input"), _typed(fields, "output")
    text = f"{inputs} -> {outputs}".strip()
    own = default_instructions(
        *([n for n, field in fields.items() if role_of(field) == role] for role in _ROLES)
    )
    return repr(text) if instructions == own else f"nbtool.Signature({text!r}, {instructions!r})"


def _typed(fields: Fields, role: str) -> str:
    return ", ".join(
        f"{n}: {type_text(field.annotation)}"
        for n, field in fields.items()
        if role_of(field) == role
    )


def summary(name: str, fields: Fields, instructions: str) -> str:
    """Write a signature for a reader: types, instructions, meanings.

    Args:
        name: Name of the signature.
        fields: All its fields, in order.
        instructions: Its instructions.
    """
    inputs, outputs = _typed(fields, "input"), _typed(fields, "output")
    head = f"{name}({f'{inputs} -> {outputs}'.strip()})"
    lines = [f"    {line}".rstrip() for line in instructions.splitlines()]
    return "\n".join([head, *lines, *(_field_line(n, field) for n, field in fields.items())])


def _field_line(name: str, field: FieldInfo) -> str:
    extras = extras_of(field)
    notes = [str(role_of(field))]
    if "constraints" in extras:
        notes.append(extras["constraints"])
    if not field.is_required():
        notes.append(f"default {field.get_default()!r}")
    placeholder = f"${{{name}}}"
    meaning = "" if extras["desc"] == placeholder else f": {extras['desc']}"
    return f"  {name} ({', '.join(notes)}){meaning}"
