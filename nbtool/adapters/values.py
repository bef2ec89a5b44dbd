"""Values in prompts and answers: any Python value as text, and text as a typed value."""

from __future__ import annotations

import enum
import json
import types
import typing
from typing import Any, Literal, Union, cast

import json_repair
import pydantic

from nbtool.signatures.types import Type


def as_json(value: Any) -> Any:
    """Return JSON-like values for anything that can be in a prompt.

    Args:
        value: Builtins, pydantic models, dataclasses, enums, dates, Predictions, Examples; of
            other objects the text is taken.
    """
    kind = cast("type[Any]", type(value))
    to_dict = getattr(kind, "toDict", None)  # of the class: a mock has every attribute
    if to_dict is not None:
        return as_json(to_dict(value))
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {str(key): as_json(item) for key, item in pairs}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [as_json(item) for item in cast("list[Any]", value)]
    try:
        return pydantic.TypeAdapter[Any](kind).dump_python(value, mode="json")
    except (pydantic.errors.PydanticUserError, ValueError, TypeError):
        return _described(value)


def as_text(value: Any) -> str:
    """Write a value into a prompt: text as it is, all else mostly as JSON.

    Args:
        value: A field's value.
    """
    try:
        plain = as_json(value.format() if isinstance(value, Type) else value)
    except RecursionError:  # a container inside itself
        plain = _described(value)
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def _described(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a tool may return anything, and the LM must see something
        return f"<{type(value).__name__}>"


def type_name(annotation: Any) -> str:
    """Return how a type is called in a prompt, e.g. ``list[int]``."""
    if annotation is None or annotation is type(None):
        return "None"
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin is Literal:
        return f"Literal[{', '.join(repr(argument) for argument in arguments)}]"
    if origin is not None:
        inner = ", ".join("..." if a is Ellipsis else type_name(a) for a in arguments)
        return f"{getattr(origin, '__name__', str(origin))}[{inner}]"
    return getattr(annotation, "__name__", str(annotation))


def parse(text: Any, annotation: Any) -> Any:
    """Read a typed value out of an LM's answer.

    Args:
        text: A field's text, or JSON-like values where the answer was JSON.
        annotation: The field's type.

    Returns:
        A value of that type.

    Raises:
        ValueError: It is no such value. (pydantic's ValidationError is one.)
    """
    if annotation is str:
        return text if isinstance(text, str) else as_text(text)
    if isinstance(text, str) and _is_none(text, annotation):
        return None
    if isinstance(annotation, type) and issubclass(annotation, enum.Enum):
        return _member(text, annotation)
    if typing.get_origin(annotation) is Literal:
        return _choice(text, typing.get_args(annotation))
    adapter = pydantic.TypeAdapter[Any](cast("Any", annotation))
    if isinstance(text, str):
        text = text.strip() if _takes_text(annotation) else _loads(text)
    return adapter.validate_python(text)


def _is_none(text: str, annotation: Any) -> bool:
    """Tell whether a text says None where the type allows it; `as_text` writes it as null."""
    is_optional = type(None) in typing.get_args(annotation)
    return is_optional and text.strip().casefold() in ("null", "none")


def _takes_text(annotation: Any) -> bool:
    """Tell whether pydantic reads the type from plain text: dates, numbers, and unions of str."""
    members = typing.get_args(annotation)
    if typing.get_origin(annotation) in (Union, types.UnionType):
        return any(member is str for member in members)
    return isinstance(annotation, type) and not (
        hasattr(annotation, "__pydantic_fields__")
        or hasattr(annotation, "__dataclass_fields__")
        or issubclass(annotation, (dict, list, tuple, set, frozenset))
    )


def _loads(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        repaired = json_repair.loads(text)
        # For text without any JSON the library gives "": then the text itself is the value.
        return repaired if repaired != "" else text.strip()


def _choice(text: Any, choices: tuple[Any, ...]) -> Any:
    if text in choices:
        return text
    written = str(text).strip().strip("\"'`").strip()
    for choice in choices:
        if written == str(choice):
            return choice
    folded = {str(choice).casefold(): choice for choice in choices}
    if written.casefold() in folded:
        return folded[written.casefold()]
    raise ValueError(f"{text!r} is not one of {choices}")


def _member(text: Any, kind: type[enum.Enum]) -> enum.Enum:
    written = str(text).strip().strip("\"'`")
    for member in kind:
        if text == member.value or written in (str(member.value), member.name):
            return member
    raise ValueError(f"{text!r} is not one of {[member.value for member in kind]}")
