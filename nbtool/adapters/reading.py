"""Typed values out of what a model wrote: a field's text, or JSON-like values."""

from __future__ import annotations

import enum
import types
from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, cast, get_args, get_origin

import pydantic

from nbtool import mending
from nbtool.adapters.values import as_text
from nbtool.errors import SignatureError
from nbtool.signatures.annotations import type_text
from nbtool.signatures.remembered import once_for_each_signature

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtool.signatures.signature import Signature

_NOTHING = ("null", "none")
_DECORATION = " \t\r\n\"'`*"
_STARTS_OF_JSON = '{["-0123456789tfn'


def parse(given: Any, annotation: Any, limits: tuple[Any, ...] = ()) -> Any:
    """Read a typed value out of an LM's answer.

    Args:
        given: A field's text, or JSON-like values where the answer was JSON.
        annotation: The field's type.
        limits: The field's constraints, as pydantic keeps them in ``metadata``.

    Returns:
        A value of that type.

    Raises:
        ValueError: It is no such value. (pydantic's ValidationError is one.)
        SignatureError: No value can be read as that type.
    """
    if annotation is str:
        text = given if isinstance(given, str) else as_text(given)
        return _adapter(str, limits).validate_python(text) if limits else text
    adapter = _adapter(annotation, limits)
    if isinstance(given, str) and _accepts_text(annotation):
        found, value = _as_json_value(given, adapter)
        return value if found else adapter.validate_python(_text_or_none(given, annotation))
    first: ValueError | None = None
    for candidate in _candidates(given, annotation):
        try:
            return adapter.validate_python(candidate)
        except pydantic.ValidationError as error:
            first = first or error
        except RecursionError:
            first = first or ValueError("it is nested too deep")
    raise first or ValueError(f"{given!r:.200} is no {type_text(annotation)}")


def parse_json(given: Any, annotation: Any, limits: tuple[Any, ...] = ()) -> Any:
    """Read a typed value out of an LM's JSON.

    There a text is a text, and None is null.

    Args:
        given: JSON-like values; what does not fit as it is, is read as `parse` does.
        annotation: The field's type.
        limits: The field's constraints.

    Raises:
        ValueError: It is no such value.
        SignatureError: No value can be read as that type.
    """
    if annotation is not str:
        try:
            return _adapter(annotation, limits).validate_python(given)
        except (pydantic.ValidationError, RecursionError):
            pass
    return parse(given, annotation, limits)


@once_for_each_signature
def check_readable(signature: type[Signature]) -> None:
    """Refuse output fields that no answer can fill, before anybody is asked.

    Args:
        signature: What is to be asked.

    Raises:
        SignatureError: pydantic knows no way to make values of a field's type.
    """
    for field in signature.output_fields.values():
        if field.annotation is not str:
            _adapter(field.annotation, tuple(field.metadata))


def allows_none(annotation: Any) -> bool:
    """Say whether a field of this type may be None.

    Args:
        annotation: The field's type.
    """
    if annotation is None or annotation is types.NoneType:
        return True
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return None in arguments
    if origin is Annotated:
        return allows_none(arguments[0])
    return origin in (Union, types.UnionType) and any(map(allows_none, arguments))


# -- what a text may mean ------------------------------------------------------------------------


def _candidates(given: Any, annotation: Any) -> Iterator[Any]:
    """Give what a value may mean, the likeliest first."""
    choices = _choices(annotation)
    yield from _chosen(given, choices)
    if not isinstance(given, str):
        yield given
        return
    text = given.strip()
    if allows_none(annotation) and text.casefold() in ("", *_NOTHING):
        yield None
    if _is_scalar(annotation):
        yield text
        yield _undecorated(text)
    if _has_structure(annotation):
        yield from _json_values(text, annotation)
        yield text  # a type of the user's may read texts


def _choices(annotation: Any) -> list[Any]:
    """Return the values among which a type lets a model choose."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return list(arguments)
    if origin is Annotated:
        return _choices(arguments[0])
    if origin in (Union, types.UnionType):
        return [choice for argument in arguments for choice in _choices(argument)]
    is_enum = isinstance(annotation, type) and issubclass(annotation, enum.Enum)
    return list(cast("Any", annotation)) if is_enum else []


def _chosen(given: Any, choices: list[Any]) -> Iterator[Any]:
    """Give the choices that a model may have meant: by value, by name, but for its case."""
    if not choices:
        return
    written = _undecorated(given) if isinstance(given, str) else str(given)
    for wanted in (given, written):
        yield from (c for c in choices if wanted == _value_of(c) and _is_like(wanted, c))
    names = [(name, choice) for choice in choices for name in _names_of(choice)]
    yield from (choice for name, choice in names if name == written)
    folded = [choice for name, choice in names if name.casefold() == written.casefold()]
    if len({id(choice) for choice in folded}) == 1:
        yield folded[0]


def _is_like(given: Any, choice: Any) -> bool:
    return isinstance(given, bool) == isinstance(_value_of(choice), bool)  # True == 1


def _value_of(choice: Any) -> Any:
    return choice.value if isinstance(choice, enum.Enum) else choice


def _names_of(choice: Any) -> list[str]:
    names = [str(_value_of(choice))]
    if isinstance(choice, enum.Enum):
        names += [choice.name, f"{type(choice).__name__}.{choice.name}"]
    return names


def _undecorated(text: str) -> str:
    """Take off what models put round a single value: quotes, stars, ``Literal[...]``."""
    text = text.strip(_DECORATION).removesuffix(".")
    for opening in ("Literal[", "str["):
        if text.startswith(opening) and text.endswith("]"):
            text = text[len(opening) : -1]
    return text.strip(_DECORATION)


def _json_values(text: str, annotation: Any) -> Iterator[Any]:
    if _is_python(text, annotation):
        yield from _json_values(f"[{text[1:-1]}]", annotation)
    openers = "{" if _is_object(annotation) else "[" if _is_list(annotation) else "{["
    try:
        yield mending.loads(text, openers)
    except ValueError:
        return


def _is_python(text: str, annotation: Any) -> bool:
    """Tell whether a text looks like one of Python's tuples or sets."""
    ends = text[:1] + text[-1:]
    if ends == "()":
        return _is_list(annotation)
    kinds = [m for m in _members(annotation) if m is not types.NoneType]
    return ends == "{}" and all(kind in (set, frozenset) for kind in kinds)


# -- kinds of types ------------------------------------------------------------------------------


def _text_or_none(text: str, annotation: Any) -> str | None:
    nothing = allows_none(annotation) and text.strip().casefold() in _NOTHING
    return None if nothing else text


def _as_json_value(text: str, adapter: pydantic.TypeAdapter[Any]) -> tuple[bool, Any]:
    """Read JSON where the type takes text too; then only what is clearly no text counts."""
    if not text.strip().startswith(tuple(_STARTS_OF_JSON)):
        return False, None
    try:
        value = adapter.validate_json(text, strict=True)
    except (ValueError, RecursionError):
        return False, None
    return not isinstance(value, str), value


def _accepts_text(annotation: Any) -> bool:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _accepts_text(arguments[0])
    if origin in (Union, types.UnionType):
        return any(map(_accepts_text, arguments))
    return annotation is Any or annotation is object or annotation is str


def _members(annotation: Any) -> list[Any]:
    """Return the types of a union, without their arguments; one type alone is a union of one."""
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _members(arguments[0])
    if origin in (Union, types.UnionType):
        return [member for argument in arguments for member in _members(argument)]
    return [origin or annotation]


def _is_scalar(annotation: Any) -> bool:
    return any(not _is_structure(member) for member in _members(annotation))


def _has_structure(annotation: Any) -> bool:
    return any(map(_is_structure, _members(annotation)))


def _is_structure(member: Any) -> bool:
    return _is_list(member) or _is_object(member) or not isinstance(member, type)


def _is_list(annotation: Any) -> bool:
    kinds = [m for m in _members(annotation) if m is not types.NoneType]
    return all(isinstance(k, type) and issubclass(k, (list, tuple, set, frozenset)) for k in kinds)


def _is_object(annotation: Any) -> bool:
    kinds = [member for member in _members(annotation) if member is not types.NoneType]
    return all(isinstance(kind, type) and _has_fields(kind) for kind in kinds)


def _has_fields(kind: type[Any]) -> bool:
    is_model = hasattr(kind, "__pydantic_fields__") or hasattr(kind, "__dataclass_fields__")
    return is_model or issubclass(kind, dict)


# -- pydantic ------------------------------------------------------------------------------------


def _adapter(annotation: Any, limits: tuple[Any, ...]) -> pydantic.TypeAdapter[Any]:
    try:
        hash((annotation, limits))
    except TypeError:
        return _new_adapter(annotation, limits, ())
    # Unions that differ in the order of their members are equal, and read differently.
    return _cached_adapter(annotation, limits, get_args(annotation))


def _new_adapter(
    annotation: Any, limits: tuple[Any, ...], _order: tuple[Any, ...]
) -> pydantic.TypeAdapter[Any]:
    limited: Any = Annotated[annotation, *limits] if limits else annotation
    try:
        return pydantic.TypeAdapter(limited)
    except (pydantic.errors.PydanticUserError, NameError) as error:
        name = type_text(annotation)
        raise SignatureError(
            f"No answer can be read as {name}: {str(error).splitlines()[0]}",
            hint="Use a type that pydantic knows, such as a BaseModel.",
        ) from error


_cached_adapter = lru_cache(maxsize=256)(_new_adapter)
