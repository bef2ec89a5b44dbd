"""What a provider counts beside tokens in and out: cached, reasoning, audio, ..."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from nbtool.lm.responses import get


def usage_details_of(response: Any) -> dict[str, Any]:
    """Return the whole usage of a response, as the provider sent it.

    Args:
        response: Of any provider; objects or dicts.

    Returns:
        Counts by the provider's names; groups of them such as ``completion_tokens_details`` are
        dicts. What is None is left out. Empty where the response has no usage.
    """
    usage = _plain(get(response, "usage"))
    if not isinstance(usage, dict):  # a simple object, or what is no usage at all
        usage = _plain(getattr(usage, "__dict__", {}))
    return cast("dict[str, Any]", usage)


def _plain(value: Any) -> Any:
    if hasattr(value, "model_dump"):
        value = value.model_dump()
    if not isinstance(value, Mapping):
        return value
    inside = cast("Mapping[str, Any]", value)
    return {name: _plain(item) for name, item in inside.items() if item is not None}
