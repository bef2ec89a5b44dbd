"""Snapshots: what a recorder keeps of a value that the program goes on using.

A snapshot shares no mutable container with the original, so that later edits do not reach it, and
keeps no user object alive: a record of a 2 GB tensor must not hold the tensor. Nobody's code runs
while a snapshot is taken; an object's own repr is asked for only when somebody looks.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import pathlib
import uuid
import weakref
from typing import Any, cast

_MAX_DEPTH = 32
_MAX_NODES = 100_000
_NODE_BYTES = 56  # what a small container entry costs in CPython, roughly
_SHOWN_CHARS = 2_000

_SCALARS = frozenset({int, float, bool, type(None), complex, bytes})
_PRINTABLE = (
    dt.date, dt.time, dt.timedelta, dt.tzinfo, decimal.Decimal,
    fractions.Fraction, uuid.UUID, pathlib.PurePath, range,
)  # fmt: skip


class Opaque:
    """Stand for an object that has no JSON form, without keeping it alive.

    Args:
        value: The object.
    """

    __slots__ = ("_reference", "type_name")

    def __init__(self, value: object) -> None:
        kind = type(value)
        self.type_name = f"{kind.__module__}.{kind.__qualname__}"
        try:
            self._reference: weakref.ref[object] | None = weakref.ref(value)
        except TypeError:
            self._reference = None

    def text(self) -> str:
        """Return the object's repr while it lives, else the name of its type."""
        value = self._reference() if self._reference is not None else None
        if value is None:
            return f"<{self.type_name} object>"
        try:
            return _cut(repr(value))
        except Exception as error:  # noqa: BLE001 - a user's repr may do anything
            return f"<{self.type_name} object, its repr raised {type(error).__name__}>"


class Meter:
    """Count what a snapshot costs while it is taken."""

    __slots__ = ("bytes", "nodes")

    def __init__(self) -> None:
        self.bytes = 0
        self.nodes = 0


def snapshot(value: Any, meter: Meter, depth: int = 0) -> Any:
    """Copy a value as far as the program could still change it.

    Args:
        value: Anything.
        meter: Adds up size and nodes; past 100,000 nodes the rest is cut.
        depth: How deep `value` is nested; below 32 levels the rest is cut.

    Returns:
        Scalars and strings themselves; new dicts, lists and tuples; what an object's own
        ``__trace_value__()`` gives; fields of pydantic models and dataclasses; `Opaque` else.
    """
    kind: type = type(value)
    if kind is str:
        meter.bytes += len(value)
        return value
    if kind in _SCALARS:
        meter.bytes += 16
        return value
    meter.nodes += 1
    meter.bytes += _NODE_BYTES
    if depth >= _MAX_DEPTH or meter.nodes > _MAX_NODES:
        return "<cut: nested too deep>" if depth >= _MAX_DEPTH else "<cut: too large>"
    if kind is dict:
        return _mapping(value, meter, depth)
    if kind is list or kind is tuple:
        return [snapshot(item, meter, depth + 1) for item in value]
    return _other(value, meter, depth)


def _mapping(value: dict[Any, Any], meter: Meter, depth: int) -> dict[Any, Any]:
    meter.nodes += len(value)
    return {
        key if type(key) is str else _key(key): snapshot(item, meter, depth + 1)
        for key, item in value.items()
    }


def _key(key: Any) -> str:
    return str(key) if isinstance(key, (str, int, float, bool, type(None))) else type(key).__name__


def _other(value: Any, meter: Meter, depth: int) -> Any:  # noqa: PLR0911 - a table of kinds
    kind: type = type(value)
    own_form = getattr(kind, "__trace_value__", None)
    if own_form is not None:
        return snapshot(own_form(value), meter, depth + 1)
    if isinstance(value, enum.Enum):
        return snapshot(value.value, meter, depth + 1)
    if isinstance(value, str):
        return str.__str__(value)
    if isinstance(value, dict):
        return _mapping(cast("dict[Any, Any]", value), meter, depth)
    if isinstance(value, (list, tuple, set, frozenset)):
        return [snapshot(item, meter, depth + 1) for item in cast("list[Any]", value)]
    if isinstance(value, _PRINTABLE):
        return str(value)
    if isinstance(value, BaseException):
        return _cut(f"{type(value).__name__}: {value}")
    fields = _fields(value)
    if fields is not None:
        return _mapping(fields, meter, depth)
    return str(value) if isinstance(value, (int, float)) else Opaque(value)


def _fields(value: Any) -> dict[str, Any] | None:
    if isinstance(value, type):
        return None
    kind: type = type(value)
    if hasattr(kind, "__pydantic_fields__"):
        return dict(value.__dict__)
    names = getattr(kind, "__dataclass_fields__", None)
    if names is not None:
        return {name: getattr(value, name, None) for name in names}
    return None


def _cut(text: str) -> str:
    if len(text) <= _SHOWN_CHARS:
        return text
    return f"{text[:_SHOWN_CHARS]}… ({len(text):,} characters)"


def plain(value: Any) -> Any:  # noqa: PLR0911 - a table of kinds
    """Turn a snapshot into JSON-like values: bytes and `Opaque` become text."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, Opaque):
        return value.text()
    if isinstance(value, bytes):
        return f"<{len(value):,} bytes>"
    if isinstance(value, complex):
        return str(value)
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):  # noqa: PLR0124 - NaN
        return str(value)
    return value
