"""Keys: requests that mean the same have the same one."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

IGNORED = ("api_key", "api_base", "base_url")
"""Options that say where to ask and who pays, and nothing of what is asked.

Source: the same names as in DSPy's LM.
"""


def key_of(request: Mapping[str, Any], ignored: Collection[str] = IGNORED) -> str:
    """Return the SHA-256 of a request's canonical JSON.

    The order of names does not matter, nor does ``1.0`` for ``1``. A pydantic class, as
    ``response_format`` has it, counts by its schema.

    Args:
        request: Arguments by name.
        ignored: Names that are left out.

    Returns:
        64 hexadecimal digits.

    Raises:
        TypeError: A value has no JSON form; or ValueError, RecursionError, or what a user's
            pydantic model raises.

    Example:
        >>> key_of({"a": 1, "b": 2}) == key_of({"b": 2.0, "a": 1, "api_key": "sk-secret"})
        True
    """
    counted = {name: _number(value) for name, value in request.items() if name not in ignored}
    text = json.dumps(
        counted,
        sort_keys=True,
        ensure_ascii=False,
        allow_nan=False,
        separators=(",", ":"),
        default=_json_form,
    )
    # Lone surrogates, which a program may have read from anywhere, have no other encoding.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _number(value: Any) -> Any:
    return int(value) if type(value) is float and value.is_integer() else value


def _json_form(value: object) -> Any:
    if hasattr(value, "__pydantic_fields__"):
        model = cast("Any", value)
        if isinstance(value, type):
            return {"schema of a class": model.model_json_schema()}
        return model.model_dump(mode="json")
    raise TypeError(f"a value of type {type(value).__qualname__} has no JSON form")
