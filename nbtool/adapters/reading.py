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


class Reading:
    """Know how values of one type are read.

    What follows from the type alone is worked out once.

    Args:
        annotation: The type.
        limits: The field's constraints, as pydantic keeps them in ``metadata``.

    Raises:
        SignatureError: No value can be read as that type.
    """

    def __init__(self, annotation: Any, limits: tuple[Any, ...] = ()) -> None:
        self.annotation = annotation
        self._is_text = annotation is str
        self._adapter = _adapter(annotation, limits) if limits or not self._is_text else None
        self._accepts_text = _accepts_text(annotation)
        self._allows_none = allows_none(annotation)
        self._is_scalar = _is_scalar(annotation)
        self._has_structure = _has_structure(annotation)
        self._choices = _choices(annotation)

    def parse(self, given: Any) -> Any:
        """Do as the function of that name."""
        if self._is_text:
            text = given if isinstance(given, str) else as_text(given)
            return self._adapter.validate_python(text) if self._adapter is not None else text
        adapter = cast("pydantic.TypeAdapter[Any]", self._adapter)
        if self._accepts_text and isinstance(given, str):
            found, value = _as_json_value(given, adapter)
            return value if found else adapter.validate_python(self._text_or_none(given))
        first: ValueError | None = None
        for candidate in self._candidates(given):
            try:
                return adapter.validate_python(candidate)
            except pydantic.ValidationError as error:
                first = first or error
            except RecursionError:
                first = first or ValueError("it is nested too deep")
        raise first or ValueError(f"{given!r:.200} is no {type_text(self.annotation)}")

    def parse_json(self, given: Any) -> Any:
        """Do as the function of that name."""
        if self._adapter is not None and not self._is_text:
            try:
                return self._adapter.validate_python(given)
            except (pydantic.ValidationError, RecursionError):
                pass
        return self.parse(given)

    def _text_or_none(self, text: str) -> str | None:
        nothing = self._allows_none and text.strip().casefold() in _NOTHING
        return None if nothing else text

    def _candidates(self, given: Any) -> Iterator[Any]:
        """Give what a value may mean, the likeliest first."""
        yield from _chosen(given, self._choices)
        if not isinstance(given, str):
            yield given
            return
        text = given.strip()
        if self._allows_none and text.casefold() in ("", *_NOTHING):
            yield None
        if self._is_scalar:
            yield text
            yield _undecorated(text)
        if self._has_structure:
            yield from _json_values(text, self.annotation)
            yield text  # a type of the user's may read texts


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
    return Reading(annotation, limits).parse(given)


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
    return Reading(annotation, limits).parse_json(given)


@once_for_each_signature
def readings_of(signature: type[Signature]) -> dict[str, Reading]:
    """Return how the values of each output field are read.

    Args:
        signature: What is asked.

    Raises:
        SignatureError: pydantic knows no way to make values of a field's type.
    """
    fields = signature.output_fields.items()
    return {name: Reading(field.annotation, tuple(field.metadata)) for name, field in fields}


@once_for_each_signature
def check_readable(signature: type[Signature]) -> None:
    """Refuse output fields that no answer can fill, before anybody is asked.

    Args:
        signature: What is to be asked.

    Raises:
        SignatureError: pydantic knows no way to make values of a field's type.
    """
    readings_of(signature)


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
