"""Finding and replacing what a program is made of: predictors and modules inside modules."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, TypeAlias, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_Named: TypeAlias = "tuple[str, Any]"


def members(root: object, leaf: type, branch: type) -> Iterator[_Named]:
    """Give every object of a kind inside another one, each once, with its path.

    Attributes, lists, tuples and dicts are walked, depth first, and so are objects of the kind
    `branch`, unless they are compiled (``_compiled`` is true): these are frozen.

    Args:
        root: Where to begin; it is not given itself.
        leaf: What to look for.
        branch: What to walk further.

    Yields:
        Path such as ``steps[0].predict`` or ``table['key']``, and the object.

    Source:
        The paths are the names in DSPy's state files.
    """
    seen = {id(root)}
    waiting = deque(_inside("", root, "['{}']"))
    while waiting:
        path, value = waiting.popleft()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, leaf):
            yield path, value
        if isinstance(value, branch) and getattr(value, "_compiled", False):
            continue
        if isinstance(value, (branch, list, tuple, dict)):
            waiting.extendleft(reversed(_inside(path, cast("object", value), "['{}']")))


def sub_modules(root: object, kind: type, branch: type, *, skip_compiled: bool) -> Iterator[_Named]:
    """Give every object of a kind in a tree of modules, nearest to the root first.

    Args:
        root: Where to begin; it is given too, as ``self``.
        kind: What to give.
        branch: What to walk further, beside lists, tuples and dicts.
        skip_compiled: Leave out what is inside compiled modules.

    Yields:
        Path such as ``self.steps[0]`` or ``self.table[key]``, and the object.

    Source:
        Order and paths as DSPy's method `named_sub_modules`.
    """
    waiting: deque[_Named] = deque([("self", root)])
    seen = {id(root)}
    while waiting:
        path, value = waiting.popleft()
        if isinstance(value, kind):
            yield path, value
        is_branch = isinstance(value, branch)
        if is_branch and skip_compiled and getattr(value, "_compiled", False):
            continue
        if is_branch or isinstance(value, (list, tuple, dict)):
            for name, item in _inside(path, cast("object", value), "[{}]"):
                if id(item) not in seen:
                    seen.add(id(item))
                    waiting.append((name, item))


def _inside(path: str, value: object, key_form: str) -> list[_Named]:
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return [(path + key_form.format(key), item) for key, item in pairs]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{i}]", item) for i, item in enumerate(cast("list[Any]", value))]
    dot = f"{path}." if path else ""
    return [(f"{dot}{name}", item) for name, item in getattr(value, "__dict__", {}).items()]


def replace(root: object, leaf: type, branch: type, new: Callable[[Any], Any]) -> None:
    """Replace every object of a kind, wherever `members` finds it.

    An object that is in several places is replaced by one thing. Lists, dicts and modules are
    changed in place, tuples made anew.

    Args:
        root: Where to begin; it is not replaced itself.
        leaf: What to replace.
        branch: What to walk further.
        new: Makes the replacement.
    """
    made: dict[int, tuple[Any, Any]] = {}  # old objects are kept: their ids are keys
    seen: set[int] = set()

    def swapped(value: Any) -> Any:
        if isinstance(value, leaf) and value is not root:
            if id(value) not in made:
                made[id(value)] = (value, new(value))
            return made[id(value)][1]
        if isinstance(value, tuple):
            return _tuple(cast("tuple[Any, ...]", value), swapped)
        is_frozen = value is not root and getattr(value, "_compiled", False)
        if id(value) in seen or (isinstance(value, branch) and is_frozen):
            return value
        if isinstance(value, (branch, list, dict)):
            seen.add(id(cast("object", value)))
            _swap_inside(value, swapped)
        return value

    swapped(root)


def _swap_inside(value: Any, swapped: Callable[[Any], Any]) -> None:
    if isinstance(value, list):
        for index, item in enumerate(cast("list[Any]", value)):
            value[index] = swapped(item)
    elif isinstance(value, dict):
        for key, item in list(cast("dict[Any, Any]", value).items()):
            value[key] = swapped(item)
    else:
        attributes = vars(cast("object", value))
        for name, item in list(attributes.items()):
            if (other := swapped(item)) is not item:
                setattr(value, name, other)


def _tuple(value: tuple[Any, ...], swapped: Callable[[Any], Any]) -> tuple[Any, ...]:
    items = [swapped(item) for item in value]
    if all(new is old for new, old in zip(items, value, strict=True)):
        return value
    made: Any = getattr(type(value), "_make", type(value))  # named tuples take their items apart
    return cast("tuple[Any, ...]", made(items))
