"""Finding what a program is made of: predictors and modules inside modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterator


def members(root: object, kind: type | tuple[type, ...]) -> Iterator[tuple[str, Any]]:
    """Give every object of a kind inside another one, each once, with its path.

    Attributes, lists, tuples and dicts are walked; a found object is walked further.

    Args:
        root: Where to begin; it is not given itself.
        kind: Class or classes to look for.

    Yields:
        Path as Python would write it, e.g. ``steps[0].predict``, and the object.
    """
    seen = {id(root)}
    waiting = list(_inside("", root))
    while waiting:
        path, value = waiting.pop(0)
        if id(value) in seen:
            continue
        if isinstance(value, kind):
            seen.add(id(value))
            yield path, value
            waiting = [*_inside(path, value), *waiting]
        elif isinstance(value, (list, tuple, dict)):
            seen.add(id(cast("object", value)))
            waiting = [*_inside(path, cast("object", value)), *waiting]


def _inside(path: str, value: object) -> list[tuple[str, Any]]:
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return [(f"{path}[{key!r}]", item) for key, item in pairs]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{i}]", item) for i, item in enumerate(cast("list[Any]", value))]
    dot = f"{path}." if path else ""
    return [(f"{dot}{name}", item) for name, item in getattr(value, "__dict__", {}).items()]
