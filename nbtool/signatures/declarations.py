"""Collect the fields that a class statement, a dict or a text declares, and refuse the rest."""

from __future__ import annotations

import inspect
import unicodedata
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias, cast, get_origin, get_type_hints

from pydantic.fields import FieldInfo

from nbtool.errors import FieldDeclarationError, SignatureError
from nbtool.signatures.annotations import is_type
from nbtool.signatures.fields import InputField, OutputField, bound, role_of
from nbtool.signatures.grammar import parse_signature

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import FrameType

Fields: TypeAlias = dict[str, FieldInfo]


def fields_of_body(cls: type, body: Mapping[str, Any], statement: FrameType | None) -> Fields:
    """Take the fields out of the body of a class statement.

    Args:
        cls: The class under construction, which knows its own annotations.
        body: The namespace of the class statement.
        statement: The frame in which the class statement stands; its names resolve
            annotations that are texts.

    Raises:
        FieldDeclarationError: A public annotation stands without `InputField` or `OutputField`.
        SignatureError: An annotation cannot be resolved, or is no type.
    """
    types = _own_annotations(cls, statement)
    for name, annotation in types.items():
        fixed = annotation is ClassVar or get_origin(annotation) is ClassVar
        if fixed or name.startswith("_") or isinstance(body.get(name), FieldInfo):
            continue
        value = f"has the value {body[name]!r}" if name in body else "has no value"
        raise _undeclared(f"{name!r} of {cls.__name__}", value)
    return {
        name: declared_field(name, value, types.get(name))
        for name, value in body.items()
        if isinstance(value, FieldInfo)
    }


def fields_of(signature: str | Mapping[str, Any], custom_types: Mapping[str, Any] | None) -> Fields:
    """Make the fields that a text or a dict describes.

    Args:
        signature: ``"question -> answer: int"``; or fields, or tuples of type and field, by name.
        custom_types: What type names of a text mean.

    Raises:
        FieldDeclarationError: A field was not made by `InputField` or `OutputField`.
        SignatureError: The text cannot be read, or a type is no type.
    """
    if isinstance(signature, str):
        inputs, outputs = parse_signature(signature, custom_types)
        fields = {name: bound(InputField(), name, type_) for name, type_ in inputs.items()}
        fields |= {name: bound(OutputField(), name, type_) for name, type_ in outputs.items()}
        if len(fields) == len(inputs) + len(outputs):
            return fields
        names = ", ".join(repr(name) for name in outputs if name in inputs)
        raise SignatureError(
            f"Input and output fields must have distinct names, but found duplicates: {names}."
            f"\n    {signature}",
            hint="rename one of the two.",
        )
    return {name: _entry_field(name, entry) for name, entry in signature.items()}


def declared_field(name: str, field: object, type_: Any = None) -> FieldInfo:
    """Check a field and its type, and return a copy that belongs to one signature.

    Args:
        name: Name of the field.
        field: What was given as the field.
        type_: Its type; None stands for the field's own type or else `str`.

    Raises:
        FieldDeclarationError: The field was not made by `InputField` or `OutputField`.
        SignatureError: The type is no type, or the name cannot be one.
    """
    check_name(name)
    if not isinstance(field, FieldInfo):
        value = f"is {field!r}: Field values must be Field instances, but received: {field!r}"
        raise _undeclared(repr(name), value)
    if role_of(field) is None:
        raise _undeclared(repr(name), f"is {field!r}")
    if type_ is not None and not is_type(type_):
        raise SignatureError(
            f"Field types must be types, but received: {type_!r} of type {type(type_)}, "
            f"for field {name!r}.",
            hint="give a class or an annotation such as list[str], without quotes.",
        )
    return bound(field, name, type_)


def check_name(name: Any) -> None:
    """Refuse what cannot be the name of a field.

    Args:
        name: What was given as the name.

    Raises:
        SignatureError: It is no identifier, so a prompt could not mark the field and a call could
            not name it.
    """
    if not isinstance(name, str):
        raise SignatureError(
            f"Field names must be strings, but received: {name!r}.",
            hint="give a dict of fields by name.",
        )
    is_as_python_reads_it = unicodedata.normalize("NFKC", name) == name
    if not name.isidentifier() or name[0] == "_" or name == "self" or not is_as_python_reads_it:
        raise SignatureError(
            f"{name!r} cannot be the name of a field.",
            hint="use letters, digits and `_` in a name, and begin with a letter; not `self`.",
        )


def _entry_field(name: str, entry: object) -> FieldInfo:
    if isinstance(entry, FieldInfo):
        return declared_field(name, entry)
    parts = list(cast(tuple[Any, ...], entry)) if isinstance(entry, tuple) else []
    if len(parts) != len(("type", "field")):
        raise FieldDeclarationError(
            f"Field values must be tuples, but received: {entry!r} for field {name!r}.",
            hint="give a tuple of type and field, (str, InputField()), or the field alone.",
        )
    return declared_field(name, parts[1], parts[0])


def _undeclared(field: str, what: str) -> FieldDeclarationError:
    return FieldDeclarationError(
        f"Field {field} must be declared with InputField or OutputField, but it {what}.",
        hint="write `name: type = InputField()`; what is no field is annotated with ClassVar.",
    )


def _own_annotations(cls: type, statement: FrameType | None) -> dict[str, Any]:
    own = inspect.get_annotations(cls)
    if not own:
        return own
    globals_, locals_ = (statement.f_globals, statement.f_locals) if statement else (None, None)
    # get_type_hints(cls) would resolve the texts of the base classes in the wrong names.
    carrier = type(cls.__name__, (), {"__annotations__": own})
    try:
        return get_type_hints(carrier, globals_, locals_, include_extras=True)
    except Exception as exc:  # boundary: annotations that are texts are the user's code
        raise SignatureError(
            f"The annotations of {cls.__name__} cannot be resolved: {exc}.",
            hint="define or import the type before the class statement.",
        ) from exc
