"""Snapshots: what a recorder keeps of a value that the program goes on using.

A snapshot shares no mutable container with the original, so that later edits do not reach it, and
keeps no user object alive: a record of a 2 GB tensor must not hold the tensor. No repr runs while a
snapshot is taken: it is asked for only when somebody looks.
"""

from __future__ import annotations

import datetime as dt
import decimal
import enum
import fractions
import itertools
import marshal
import math
import pathlib
import uuid
import weakref
from sys import getsizeof
from typing import TYPE_CHECKING, Any, Literal, cast

from nbtool.tracing.scrub import without_last_word

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_MAX_DEPTH = 32
_MAX_NODES = 100_000
_NODE_BYTES = 56  # what a small container or an entry of a dict costs in CPython, roughly
_POINTER_BYTES = 8
_SHOWN_CHARS = 2_000
_WORD_CHARS = 256
_MAX_INT_BITS = 2_000  # text of longer ones may be refused (sys.set_int_max_str_digits)

_TOO_DEEP = "<cut: nested too deep>"
_SCALARS = frozenset({int, float, bool, type(None), complex})
_PRINTABLE = (
    dt.date, dt.time, dt.timedelta, dt.tzinfo, decimal.Decimal,
    fractions.Fraction, uuid.UUID, pathlib.PurePath, range,
)  # fmt: skip

_dict: type[Any] = dict
_ROWS: tuple[type[Any], ...] = (list, tuple, set, frozenset)
_EXACT: tuple[tuple[type, Callable[[Any], str | int | float]], ...] = (
    (str, str.__str__),
    (int, int.__int__),
    (float, float.__float__),
    (bytes, lambda value: f"<{bytes.__len__(value):,} bytes>"),
    (bytearray, lambda value: f"<{bytearray.__len__(value):,} bytes>"),
)


class Opaque:
    """Stand for an object that has no JSON form, without keeping it alive.

    Args:
        value: The object.
    """

    __slots__ = ("_reference", "type_name")

    def __init__(self, value: object) -> None:
        self.type_name = _type_name(type(value))
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


def _type_name(kind: type[Any]) -> str:
    try:
        return f"{kind.__module__}.{kind.__qualname__}"
    except Exception:  # noqa: BLE001 - a user's metaclass may do anything
        return "unknown"


ResultForm = Literal["json", "converted", "opaque"]
"""What a snapshot in JSON is: the value itself; something made of it; or the text of an object."""


class Meter:
    """Count what a snapshot costs, and note what becomes of the value."""

    __slots__ = ("bytes", "form", "nodes")

    def __init__(self) -> None:
        self.bytes = 0
        self.nodes = 0
        self.form: ResultForm = "json"

    def note_change(self) -> None:
        """Note that the snapshot has something else than the value."""
        if self.form == "json":
            self.form = "converted"


def snapshot(value: Any, meter: Meter, depth: int = 0) -> Any:  # noqa: PLR0911 - a table of kinds
    """Copy a value as far as the program could still change it.

    Args:
        value: Anything.
        meter: Adds up size and nodes; past 100,000 nodes the rest is cut.
        depth: How deep `value` is nested; below 32 levels the rest is cut.

    Returns:
        Scalars and strings themselves; the length of bytes; new dicts and lists; what an
        object's own ``__trace_value__()`` gives; fields of pydantic models and dataclasses;
        `Opaque` else, and where an object cannot be read.
    """
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType] - a cast would take time
    if kind is str:
        meter.bytes += len(value) if value.isascii() else getsizeof(value)
        return value
    if kind is dict or kind is list or kind is tuple:
        meter.bytes += _NODE_BYTES
        if kind is tuple:
            meter.note_change()
        if depth >= _MAX_DEPTH:
            meter.note_change()
            return _TOO_DEEP
        try:
            copy = _mapping if kind is dict else _row
            return copy(value, len(value), meter, depth)
        except Exception:  # noqa: BLE001 - another thread changes it meanwhile
            return _opaque(value, meter)
    if kind in _SCALARS:
        meter.bytes += 16 if kind is not int else getsizeof(value)
        return value
    meter.bytes += _NODE_BYTES
    meter.note_change()
    if depth >= _MAX_DEPTH:
        return _TOO_DEEP
    try:
        return _other(value, kind, meter, depth)
    except Exception:  # noqa: BLE001 - objects may do anything
        return _opaque(value, meter)


def _opaque(value: object, meter: Meter) -> Opaque:
    meter.form = "opaque"
    return Opaque(value)


def _row(items: Iterable[Any], length: int, meter: Meter, depth: int) -> list[Any]:
    room = _MAX_NODES - meter.nodes
    if length > room:
        meter.note_change()
        kept = list(itertools.islice(items, room))
        return [*_row(kept, len(kept), meter, depth), f"<cut: {length - room:,} more>"]
    meter.nodes += length
    meter.bytes += _POINTER_BYTES * length
    copy: list[Any] = []
    for item in items:
        copy.append(snapshot(item, meter, depth + 1))  # noqa: PERF401 - on 3.11 a comprehension is a call
    return copy


def _mapping(value: dict[Any, Any], length: int, meter: Meter, depth: int) -> dict[str, Any]:
    room = _MAX_NODES - meter.nodes
    if length > room:
        meter.note_change()
        kept: dict[Any, Any] = dict(itertools.islice(_dict.items(value), room))
        cut = f"<cut: {length - room:,} more>"
        return {**_mapping(kept, len(kept), meter, depth), "…": cut}
    meter.nodes += length
    size = _NODE_BYTES * length
    copy: dict[str, Any] = {}
    for key, item in _dict.items(value):
        name = key if type(key) is str else _key(key, meter, depth)
        if type(item) is str:  # most are, and a program's steps spend their time here
            size += len(item) if item.isascii() else getsizeof(item)
            copy[name] = item
        else:
            copy[name] = snapshot(item, meter, depth + 1)
    meter.bytes += size
    return copy if len(copy) == length else _with_every_key(value, meter, depth)


def _with_every_key(value: dict[Any, Any], meter: Meter, depth: int) -> dict[str, Any]:
    copy: dict[str, Any] = {}
    for key, item in _dict.items(value):
        name = key if type(key) is str else _key(key, meter, depth)
        while name in copy:  # another key has the same text
            name = f"{name} {len(copy)}"
        copy[name] = snapshot(item, meter, depth + 1)
    return copy


def _key(key: Any, meter: Meter, depth: int) -> str:
    before = meter.form
    text = _cut(_key_text(snapshot(key, meter, depth + 1)))
    meter.form = "opaque" if before == "opaque" else "converted"  # a key's text is in the JSON
    return text


def _key_text(form: Any) -> str:
    if isinstance(form, list):
        return f"({', '.join(map(_key_text, cast('list[Any]', form)))})"
    return form.type_name if isinstance(form, Opaque) else str(plain(form))


def _other(value: Any, kind: type[Any], meter: Meter, depth: int) -> Any:
    own_form = getattr(kind, "__trace_value__", None)
    if own_form is not None:
        return snapshot(own_form(value), meter, depth + 1)
    if issubclass(kind, enum.Enum):
        # Not `value`, which may be a property of the user's.
        return snapshot(value._value_, meter, depth + 1)
    exact = _exact(value, kind)
    if exact is not None:
        return snapshot(exact, meter, depth)
    if issubclass(kind, dict):
        return _mapping(value, _dict.__len__(value), meter, depth)
    for base in _ROWS:
        if issubclass(kind, base):
            return _row(base.__iter__(value), base.__len__(value), meter, depth)
    fields = _fields(value)
    return _opaque(value, meter) if fields is None else _mapping(fields, len(fields), meter, depth)


def _exact(value: Any, kind: type[Any]) -> str | int | float | None:
    # By the kind, not by isinstance, which believes what a proxy or mock says of its class.
    for base, exact in _EXACT:
        if issubclass(kind, base):
            return exact(value)
    if issubclass(kind, _PRINTABLE):
        return _cut(str(value))
    if issubclass(kind, BaseException):
        return _cut(f"{kind.__name__}: {value}")
    return None


def _fields(value: Any) -> dict[str, Any] | None:
    kind = cast("type[Any]", type(value))
    if issubclass(kind, type):
        return None
    if hasattr(kind, "__pydantic_fields__"):
        return {**value.__dict__, **(value.__pydantic_extra__ or {})}
    names = getattr(kind, "__dataclass_fields__", None)
    if names is not None:
        return {name: getattr(value, name, None) for name in names}
    return None


def _cut(text: str) -> str:
    if len(text) <= _SHOWN_CHARS:
        return text
    # Between words, because half of a secret would no longer be found as one.
    end = max(text.rfind(" ", 0, _SHOWN_CHARS), _SHOWN_CHARS - _WORD_CHARS)
    return f"{text[:end]}… ({len(text):,} characters)"


def packed(value: Any, meter: Meter) -> Any:
    """Do as `snapshot` for large plain data that is seldom read: messages.

    One C call takes a third of the time, and leaves one object instead of one for each turn.

    Returns:
        Bytes, which no snapshot has, for `unpacked`; a snapshot where the value has more than
        plain data.
    """
    try:
        kept = marshal.dumps(value)
    except Exception:  # noqa: BLE001 - an object is in it, or it is nested too deep
        return snapshot(value, meter)
    meter.bytes += len(kept)
    return kept


def unpacked(kept: Any) -> Any:
    """Return the snapshot that `packed` stands for; of another value itself."""
    return snapshot(marshal.loads(kept), Meter()) if type(kept) is bytes else kept  # noqa: S302 - our own, and it never leaves the process


def has_opaque(form: Any) -> bool:
    """Tell whether a snapshot stands for objects without a JSON form, anywhere in it."""
    if isinstance(form, dict):
        return any(map(has_opaque, cast("dict[str, Any]", form).values()))
    if isinstance(form, list):
        return any(map(has_opaque, cast("list[Any]", form)))
    return isinstance(form, Opaque)


def plain(value: Any) -> Any:
    """Turn a snapshot into JSON-like values; what JSON lacks becomes text."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in cast("dict[str, Any]", value).items()}
    if isinstance(value, list):
        return [plain(item) for item in cast("list[Any]", value)]
    if isinstance(value, Opaque):
        return value.text()
    if isinstance(value, complex) or (isinstance(value, float) and not math.isfinite(value)):
        return str(value)
    if isinstance(value, int) and value.bit_length() > _MAX_INT_BITS:
        return f"<int of {value.bit_length():,} bits>"
    return value


_FIRST_ITEMS = 8
_SHORT_DEPTH = 4


def short(value: Any, chars: int, depth: int = 0) -> Any:
    """Do as `plain` with as much of a snapshot as a line of a view has room for.

    Args:
        value: A snapshot.
        chars: How many characters of each text to keep at most.
        depth: How deep `value` lies.
    """
    kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType] - as in `snapshot`
    if kind is str:
        return value if len(value) <= chars else f"{without_last_word(value[:chars])}…"
    if kind is not dict and kind is not list:
        return plain(value)
    if depth == _SHORT_DEPTH:
        return "…"
    if kind is dict:
        items = itertools.islice(cast("dict[str, Any]", value).items(), _FIRST_ITEMS)
        return {key: short(item, chars, depth + 1) for key, item in items}
    return [short(item, chars, depth + 1) for item in cast("list[Any]", value)[:_FIRST_ITEMS]]
