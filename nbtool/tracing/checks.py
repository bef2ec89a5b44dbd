"""Whether values from a file are those of a record."""

from __future__ import annotations

import math
from types import NoneType
from typing import Any, get_args

from nbtool.tracing.snapshot import ResultForm
from nbtool.tracing.span import Kind, Status

_JSON_TYPES: dict[str, tuple[type, ...]] = {
    "id": (int,),
    "parent_id": (int, NoneType),
    "kind": (str,),
    "name": (str,),
    "start_s": (int, float),
    "end_s": (int, float, NoneType),
    "status": (str,),
    "inputs": (dict,),
    "error": (dict, NoneType),
    "usage": (dict,),
    "cost_usd": (int, float, NoneType),
    "attributes": (dict,),
    "mark": (str, NoneType),
}


def check_record(values: dict[str, Any]) -> None:
    """Refuse what is no record: a file may come from anybody.

    Views write some of its values to the terminal as they are.

    Raises:
        TypeError: A value has another type.
        ValueError: A kind, status or form is unknown.
        KeyError: A value is missing.
    """
    for name in values.keys() & _JSON_TYPES.keys():
        value = values[name]
        is_finite = not isinstance(value, float) or math.isfinite(value)
        if not isinstance(value, _JSON_TYPES[name]) or not is_finite:
            raise TypeError(f"{name!r} is {value!r}")
    for name, allowed in (("kind", Kind), ("status", Status), ("form", ResultForm)):
        value = values.get(name, "json") if name == "form" else values[name]
        if value not in get_args(allowed):
            raise ValueError(f"{name!r} is {value!r}, not one of {get_args(allowed)}")
    if not all(isinstance(count, int) for count in values.get("usage", {}).values()):
        raise TypeError(f"'usage' is {values['usage']!r}")
    error: dict[str, Any] = values.get("error") or {}
    if not all(isinstance(text, str | None) for text in error.values()):
        raise TypeError(f"'error' is {values['error']!r}")
