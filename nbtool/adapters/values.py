"""Values in prompts: any Python value as text or as JSON."""

from __future__ import annotations

import dataclasses
import enum
import json
import re
import secrets
from functools import lru_cache
from typing import Any, cast

import pydantic

from nbtool.adapters.content import Content, Part
from nbtool.mending import sound
from nbtool.signatures.types import Type

_PLAIN = frozenset({int, float, bool, type(None)})
_ENCODER = json.JSONEncoder(ensure_ascii=False)
_MAX_DEPTH = 64  # as deep as a custom type is looked for


class _Parts:
    """Take the content parts out of a value, and put them back into its text.

    What stands for a part until then cannot be guessed, so no text of a user can pass for one.
    """

    def __init__(self) -> None:
        self._word = ""
        self._taken: list[list[Part]] = []

    def take(self, parts: list[Part]) -> str:
        self._taken.append(parts)
        self._word = self._word or secrets.token_hex(8)
        return f"{self._word}:{len(self._taken) - 1}"

    def put_back(self, text: str) -> str:
        if not self._taken:
            return text
        pieces: list[str | Part] = []
        # re.split with a group gives texts and numbers of parts by turns.
        for at, piece in enumerate(re.split(f'"?{self._word}:(\\d+)"?', text)):
            pieces += self._taken[int(piece)] if at % 2 else [piece]
        return Content(*pieces)


def as_text(value: Any) -> str:
    """Write a value into a prompt: text as it is, all else mostly as JSON.

    Args:
        value: A field's value.

    Returns:
        Text; a `Content` where the value holds a custom type that is more than text. Half
        characters (lone surrogates), which no request can carry, are replaced.
    """
    if isinstance(value, str) and type(value).__str__ is str.__str__:
        return value if isinstance(value, Content) else str(sound(value))
    parts = _Parts()
    try:
        plain = as_json(value, parts)
        text = plain if isinstance(plain, str) else json_text(plain)
    except (RecursionError, ValueError):  # a container inside itself; an endless number
        text = _described(value)
    return parts.put_back(sound(text))


def json_text(plain: Any) -> str:
    """Write JSON-like values as JSON, for a reader who knows all letters.

    Args:
        plain: What `as_json` returned.
    """
    return _ENCODER.encode(plain)


def as_json(value: Any, parts: _Parts | None = None) -> Any:
    """Return JSON-like values for anything that can be in a prompt.

    Args:
        value: Builtins, pydantic models, dataclasses, enums, dates, Predictions, Examples, custom
            types as they format themselves; of other objects the text is taken.
        parts: Takes the content parts of custom types; without it they are values like others.
    """
    kind = cast("type[Any]", type(value))
    if kind is str or kind in _PLAIN:
        return value
    to_dict = getattr(kind, "toDict", None)  # of the class: a mock has every attribute
    if to_dict is not None:
        return as_json(to_dict(value), parts)
    if isinstance(value, Type) and kind.format is not Type.format:
        return _formatted(value, parts)
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return _container(value, parts)
    return _dumped(value, parts)


def _container(value: Any, parts: _Parts | None) -> Any:
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {_as_key(key): as_json(item, parts) for key, item in pairs}
    items = [as_json(item, parts) for item in value]
    # In an order that every process agrees on: a prompt is the key of its cached answer.
    return sorted(items, key=repr) if isinstance(value, (set, frozenset)) else items


def _formatted(value: Type, parts: _Parts | None) -> Any:
    shown: Any = value.format()
    if parts is not None and isinstance(shown, list) and all(map(_is_part, cast(Any, shown))):
        return parts.take(cast("list[Part]", shown))
    return as_json(shown, parts)


def _is_part(item: Any) -> bool:
    return isinstance(item, dict) and "type" in item


def _dumped(value: Any, parts: _Parts | None) -> Any:
    fields = _fields_of(value)
    if fields is not None and any(_holds_type(item, _MAX_DEPTH) for item in fields.values()):
        return as_json(fields, parts)  # pydantic would not ask the types how they are shown
    try:
        return _adapter(cast("type[Any]", type(value))).dump_python(
            value, mode="json", warnings=False
        )
    except (pydantic.errors.PydanticUserError, ValueError, TypeError):
        return _described(value) if fields is None else as_json(fields, parts)


def _fields_of(value: Any) -> dict[str, Any] | None:
    if isinstance(value, pydantic.BaseModel):
        fields = {name: getattr(value, name) for name in type(value).model_fields}
        return {**fields, **(value.model_extra or {})}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    return None


def _holds_type(value: Any, depth: int) -> bool:
    if isinstance(value, Type):
        return True
    if depth == 0 or isinstance(value, str):
        return False
    inside: Any = _fields_of(value)
    if inside is None and isinstance(value, (dict, list, tuple)):
        inside = cast("Any", value)
    if isinstance(inside, dict):
        inside = cast("dict[Any, Any]", inside).values()
    return any(_holds_type(item, depth - 1) for item in inside or ())


def _as_key(key: Any) -> str:
    plain = as_json(key.value if isinstance(key, enum.Enum) else key)
    if isinstance(plain, str):
        return plain
    return json_text(plain) if type(plain) in _PLAIN else str(key)


@lru_cache(maxsize=256)
def _adapter(kind: type[Any]) -> pydantic.TypeAdapter[Any]:
    return pydantic.TypeAdapter(kind)


def _described(value: Any) -> str:
    try:
        return str(value)
    except Exception:  # noqa: BLE001 - a tool may return anything, and the LM must see something
        return f"<{type(value).__name__}>"
