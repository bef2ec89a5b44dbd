"""The fields of a signature: pydantic's `FieldInfo` with the keys that DSPy programs read.

`json_schema_extra` of a field holds ``__dspy_field_type``, ``desc``, ``prefix`` and
``constraints``; the constraints also stay in ``metadata``, where pydantic enforces them.
"""

from __future__ import annotations

import inspect
import re
import warnings
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast, get_origin

from pydantic.fields import Field, FieldInfo

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Role = Literal["input", "output"]

ROLE_KEY: Final = "__dspy_field_type"
UNTYPED_KEY: Final = "IS_TYPE_UNDEFINED"

_DEPRECATED = ("prefix", "format", "parser")
_CONSTRAINTS = {
    "gt": "greater than {}",
    "ge": "at least {}",
    "lt": "less than {}",
    "le": "at most {}",
    "min_length": "length at least {}",
    "max_length": "length at most {}",
    "multiple_of": "a multiple of {}",
}
# A run of capitals is one word ("HTML" in HTMLPage), and so is a run of digits.
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[^\WA-Z\d_]+|\d+")


# Any, not FieldInfo: `question: str = InputField()` must please the reader's type checker.
def InputField(**kwargs: Any) -> Any:  # noqa: N802 - DSPy's name, and users see a kind of type
    """Declare an input of a signature.

    Args:
        **kwargs: `desc` (or `description`) says in words what the field means. All keywords of
            `pydantic.Field` are taken: `default`, `default_factory`, `gt`, `ge`, `lt`, `le`,
            `min_length`, `max_length`, `multiple_of`, ... `prefix`, `format` and `parser` are
            deprecated.

    Returns:
        A pydantic `FieldInfo`.

    Source:
        Keywords and the keys of `json_schema_extra` as in DSPy.
    """
    return _declared("input", kwargs)


def OutputField(**kwargs: Any) -> Any:  # noqa: N802 - as InputField
    """Declare an output of a signature.

    Args:
        **kwargs: As for `InputField`.

    Returns:
        A pydantic `FieldInfo`.
    """
    return _declared("output", kwargs)


def role_of(field: FieldInfo) -> Role | None:
    """Return the side on which a field stands.

    Args:
        field: Any field of pydantic.

    Returns:
        None for a field that was made by neither `InputField` nor `OutputField`.
    """
    return extras_of(field).get(ROLE_KEY)


def is_untyped(field: FieldInfo) -> bool:
    """Say whether a field was declared without a type, and so is `str`.

    Args:
        field: A field of a signature.
    """
    return bool(extras_of(field).get(UNTYPED_KEY))


def extras_of(field: FieldInfo) -> dict[str, Any]:
    """Return the keys that a field carries beside pydantic's own.

    Args:
        field: Any field of pydantic; one that has no dict of extras gives an empty one.
    """
    extra = field.json_schema_extra
    return cast(dict[str, Any], extra) if isinstance(extra, dict) else {}


def bound(field: FieldInfo, name: str, annotation: Any = None, **extras: Any) -> FieldInfo:
    """Return a copy of a field that knows its name and type.

    Args:
        field: A field as declared, or one that belongs to another signature.
        name: Its name in the signature.
        annotation: Its type; None keeps the one that it has, and is an untyped `str` otherwise.
        **extras: Keys to set, e.g. `desc`.
    """
    untyped = annotation is None and (field.annotation is None or is_untyped(field))
    type_: Any = annotation or field.annotation or str
    own = copy(field)
    own.metadata = list(field.metadata)  # pydantic 2.10 extends it in place
    own.annotation = type_
    if get_origin(type_) is Annotated:
        own = FieldInfo.from_annotated_attribute(type_, own)
    known = {**extras_of(field), **extras}
    known.pop(UNTYPED_KEY, None)
    if untyped:
        known[UNTYPED_KEY] = True
    known.setdefault("prefix", f"{infer_prefix(name)}:")
    known.setdefault("desc", f"${{{name}}}")
    if constraints := _constraint_text(own.metadata):
        known["constraints"] = constraints
    own.json_schema_extra = known
    return own


def infer_prefix(name: str) -> str:
    """Turn a field's name into a title.

    Args:
        name: An identifier in snake_case or camelCase.

    Example:
        >>> infer_prefix("some_HTMLPage2")
        'Some HTML Page 2'
    """
    words = _WORD.findall(name)
    return " ".join(word if word.isupper() else word.capitalize() for word in words)


def _declared(role: Role, kwargs: Mapping[str, Any]) -> FieldInfo:
    _warn_about(role, kwargs)
    known = {k: v for k, v in kwargs.items() if k in pydantic_keywords()}
    extras: dict[str, Any] = dict(known.pop("json_schema_extra", None) or {})
    extras |= {k: v for k, v in kwargs.items() if k not in pydantic_keywords()}
    if "description" in known:
        extras.setdefault("desc", known["description"])
    field: FieldInfo = Field(**known)
    if constraints := _constraint_text(field.metadata):
        extras["constraints"] = constraints
    field.json_schema_extra = {**extras, ROLE_KEY: role}
    return field


def _warn_about(role: Role, kwargs: Mapping[str, Any]) -> None:
    maker = f"{role.capitalize()}Field"
    for keyword in kwargs:
        if keyword in _DEPRECATED:
            text = f"`{keyword}` of {maker} is deprecated, as in DSPy: no prompt shows it"
            warnings.warn(text, DeprecationWarning, stacklevel=4)
        elif keyword != "desc" and keyword not in pydantic_keywords():
            text = f"{maker} has no `{keyword}`: {_meant_instead_of(keyword)}"
            warnings.warn(text, UserWarning, stacklevel=4)


def _meant_instead_of(keyword: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(keyword, ["desc", *pydantic_keywords()], n=1)
    return f"did you mean `{near[0]}`?" if near else "it is kept, but nothing reads it"


@cache
def pydantic_keywords() -> frozenset[str]:
    """Return the keywords that `pydantic.Field` takes."""
    return frozenset(inspect.signature(Field).parameters) - {"extra"}


def _constraint_text(metadata: Iterable[Any]) -> str:
    # Gt, Len, Interval, ... of annotated_types name their attributes as pydantic its keywords.
    limits = ((words, getattr(m, k, None)) for m in metadata for k, words in _CONSTRAINTS.items())
    return ", ".join(words.format(limit) for words, limit in limits if limit is not None)
