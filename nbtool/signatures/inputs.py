"""Compare the inputs of a call with its signature: defaults, and warnings that cost no call."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Union, cast, get_args, get_origin

from nbtool.signatures.annotations import type_text
from nbtool.signatures.fields import is_untyped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import TypeAdapter
    from pydantic.fields import FieldInfo

    from nbtool.signatures.signature import Signature

_SHOWN_CHARS = 200


def with_defaults(signature: type[Signature], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Fill in the defaults of the input fields that were not given.

    Args:
        signature: The signature of the call.
        inputs: Values by name of the field.

    Returns:
        A new dict; a default that can be changed is a new object in each.
    """
    filled = dict(inputs)
    for name, field in signature.input_fields.items():
        if name not in filled and not field.is_required():
            filled[name] = field.get_default(call_default_factory=True, validated_data=filled)
    return filled


def validate_inputs(
    signature: type[Signature], inputs: Mapping[str, Any], *, types: bool = True
) -> list[str]:
    """Say what looks wrong about the inputs of a call; none of it need stop the call.

    Types are compared as pydantic does without `strict`: ``"1"`` is an int. None, iterators
    (looking would use them up) and fields without a type are taken as they come, and so is a list
    of texts where a text is expected. A field that may be None need not be given.

    Args:
        signature: The signature of the call.
        inputs: Values by name of the field, before or after `with_defaults`.
        types: Whether to look at the values too, and not at the names alone.

    Returns:
        A sentence for the names that are not expected, one for those that are missing, and one
        for each value of another type.

    Source:
        The sentences of DSPy's warnings.
    """
    fields = signature.input_fields
    extra = [name for name in inputs if name not in fields]
    missing = [
        name
        for name, field in fields.items()
        if name not in inputs and field.is_required() and not _may_be_none(field.annotation)
    ]
    found: list[str] = []
    if extra:
        found.append(
            f"Input contains fields not in signature. These fields will be ignored: {extra}. "
            f"Expected fields: {list(fields)}."
        )
    if missing:
        present = [name for name in fields if name in inputs]
        found.append(
            f"Not all input fields were provided to module. Present: {present}. Missing: {missing}."
        )
    found += [
        f"Type mismatch for field '{name}': expected {type_text(field.annotation)} based on "
        f"given Signature, but the provided value is incompatible: {_shown(inputs[name])}."
        for name, field in fields.items()
        if types and name in inputs and not _fits(inputs[name], field)
    ]
    return found


def _fits(value: Any, field: FieldInfo) -> bool:
    type_: Any = field.annotation
    if value is None or is_untyped(field) or isinstance(value, Iterator):
        return True
    # The usual case costs no adapter; isinstance() would raise for Any and for protocols.
    if type_ in type(value).__mro__ and not field.metadata:
        return True
    if type_ is str and isinstance(value, list):  # passages, say: a prompt shows them all
        return all(isinstance(item, str) for item in cast("list[Any]", value))
    adapter = _adapter(type_, tuple(field.metadata))
    if adapter is None:
        return True
    try:
        adapter.validate_python(value, strict=False)
    except Exception:  # noqa: BLE001 - a validator is the user's code; it must not end the call
        return False
    return True


def _may_be_none(annotation: Any) -> bool:
    is_union = get_origin(annotation) in (Union, UnionType)
    return annotation is NoneType or (is_union and NoneType in get_args(annotation))


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"


def _adapter(type_: Any, metadata: tuple[Any, ...]) -> TypeAdapter[Any] | None:
    try:
        hash((type_, metadata))
    except TypeError:
        return _new_adapter(type_, metadata)
    return _cached_adapter(type_, metadata)


def _new_adapter(type_: Any, metadata: tuple[Any, ...]) -> TypeAdapter[Any] | None:
    from pydantic import ConfigDict, TypeAdapter

    annotation: Any = Annotated[type_, *metadata] if metadata else type_
    # pydantic takes no config for models, and no foreign classes without one.
    for config in (None, ConfigDict(arbitrary_types_allowed=True)):
        try:
            return TypeAdapter(annotation, config=config)
        except Exception:  # noqa: BLE001, S112 - a type that pydantic cannot check goes unchecked
            continue
    return None


_cached_adapter = lru_cache(maxsize=256)(_new_adapter)
