"""Entries: what a cache keeps of a value, and the copy that it gives back.

An entry shares nothing with the value that it was made of, nor do two copies with each other.
Values with a JSON form are kept as text, in memory too: it is small, cannot be changed, and reading
it is the copy. Nothing is ever unpickled.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import json
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias, cast, get_args

from nbtool.lm.responses import get, outputs_of

Kind = Literal["value", "response"]
"""What a text is read as: a plain JSON value, or an LM's response."""

_ATOMS = frozenset({str, int, bool, type(None)})
_LARGEST_FLOAT = float("inf")


class Response(dict[str, Any]):
    """Be a response from a cache: fields as attributes or as items.

    Example:
        >>> response = Response(choices=[Response(message=Response(content="Paris"))])
        >>> response.choices[0].message.content
        'Paris'
        >>> response["choices"][0]["message"]["content"]
        'Paris'
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"The response has no field {name!r}: {sorted(self)}.") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def model_dump(self, **_: Any) -> dict[str, Any]:
        """Return the fields as plain dicts and lists.

        Source:
            Name as in pydantic, by which litellm's responses are dumped.
        """
        return json.loads(json.dumps(self))

    def model_dump_json(self, *, indent: int | None = None, **_: Any) -> str:
        """Return the fields as JSON."""
        return json.dumps(self, indent=indent)

    def __deepcopy__(self, memo: dict[int, Any]) -> Response:
        return Response({name: copy.deepcopy(value, memo) for name, value in self.items()})


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """Keep a value as JSON; it may go to disk.

    Attributes:
        kind: What the text is read as.
        body: The JSON text, UTF-8 with lone surrogates let through.
    """

    kind: Kind
    body: bytes

    def read(self, *, is_hit: bool = True) -> Any:
        """Return a copy of the value.

        Args:
            is_hit: Whether it answers a later request; a response then says so.

        Raises:
            ValueError: The text is damaged.
        """
        text = self.body.decode("utf-8", "surrogatepass")
        if self.kind == "value":
            return json.loads(text)
        response = json.loads(text, object_hook=Response)
        if not isinstance(response, Response):
            raise ValueError(f"the text of a response is {text[:40]!r}")  # noqa: TRY004 - damage, as all of it
        response.usage = {}  # paid for by whoever asked first
        if is_hit:
            response.cache_hit = True
        return response


@dataclasses.dataclass(frozen=True, slots=True)
class Live:
    """Keep a value that has no JSON form as a copy; memory only."""

    value: Any

    def read(self, *, is_hit: bool = True) -> Any:
        """Return a copy of the value; see `Written.read`."""
        value = copy.deepcopy(self.value)
        if hasattr(value, "usage"):
            with contextlib.suppress(Exception):  # a user's class may refuse either
                value.usage = {}
                if is_hit:
                    object.__setattr__(value, "cache_hit", True)  # pydantic refuses new names
        return value


Entry: TypeAlias = Written | Live


def entry_of(value: Any) -> Entry | None:
    """Return what to keep of a value; None where nothing can or shall be kept.

    Args:
        value: A response of an LM, or what a user's function returned.
    """
    if value is None or _is_empty_response(value):
        return None
    try:
        if _is_response(value):
            return Written("response", _as_json(value))
        if _is_plain(value):
            return Written("value", _as_json(value))
    except Exception:  # noqa: BLE001, S110 - it has no JSON form after all; a user's model may raise anything
        pass
    try:
        return Live(copy.deepcopy(value))
    except Exception:  # noqa: BLE001 - connections, locks, …: whatever they raise, they cannot be kept
        return None


def written(kind: str, body: bytes) -> Written | None:
    """Return an entry as a file has it; None where it is damaged."""
    if kind not in get_args(Kind):
        return None
    entry = Written(cast("Kind", kind), body)
    try:
        value = entry.read()
        is_whole = kind == "value" or outputs_of(value)
    except Exception:  # noqa: BLE001 - whoever wrote the file: what trips our reading is damage
        return None
    return entry if is_whole else None


def _is_response(value: Any) -> bool:
    has_answers = any(isinstance(get(value, name), list) for name in ("choices", "output"))
    if isinstance(value, Mapping):  # it may also be any dict of a user's function
        return has_answers and "usage" in value
    return has_answers and _is_model(value)


def _is_model(value: object) -> bool:
    return hasattr(type(value), "__pydantic_fields__")  # not isinstance: pydantic loads slowly


def _is_empty_response(value: Any) -> bool:
    """Tell whether it is an answer without choices, which its caller takes as an error."""
    choices = get(value, "choices")
    return isinstance(choices, list) and not choices


def _is_plain(value: Any) -> bool:
    """Tell whether JSON gives exactly this back; a tuple, say, would become a list."""
    kind = cast("type[Any]", type(value))
    if kind in _ATOMS:
        return True
    if kind is float:
        return abs(value) < _LARGEST_FLOAT
    if kind is list:
        return all(map(_is_plain, value))
    return kind is dict and all(type(k) is str and _is_plain(v) for k, v in value.items())


def _as_json(value: Any) -> bytes:
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=_fields)
    return text.encode("utf-8", "surrogatepass")


def _fields(value: Any) -> Any:
    if _is_model(value):
        return value.model_dump(mode="json", warnings=False)
    raise TypeError(f"a value of type {type(value).__qualname__} has no JSON form")
