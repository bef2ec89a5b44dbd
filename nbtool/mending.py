"""Read what language models write as JSON: often slightly broken, sometimes hostile.

Whatever comes, reading it ends soon: mending takes time that grows with the square of a text, so
long or deeply nested texts are read only as far as that costs next to nothing.
"""

from __future__ import annotations

import contextlib
import json
import re
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# Measured on json-repair 0.64: less than a second for the worst text within these limits.
_MAX_NESTING = 64
_MAX_WORK = 2_000_000  # characters times marks of punctuation, of which each text has some
_LEAST_MARKS = 20
_MAX_STARTS = 64  # places of an answer at which a value may begin
_BRACKETS = re.compile(r"[{}\[\]]")
_MARKS = re.compile(r"[^\w\s.-]")
_DECODER = json.JSONDecoder(strict=False)  # models break lines inside of strings


def loads(text: str, openers: str = "{[") -> Any:
    """Read the JSON value in a text, with prose around it or slightly broken.

    Args:
        text: What a model wrote.
        openers: With which of the brackets a value inside of prose may begin.

    Returns:
        Builtins; half characters (lone surrogates) are replaced.

    Raises:
        ValueError: There is no such value.

    Example:
        >>> loads("Sure: {'a': 1, 'b': [2, 3]}.")
        {'a': 1, 'b': [2, 3]}
    """
    for value in _readings(text, openers):
        return sound(value)
    raise ValueError("it has no JSON")


def loads_object(text: str, names: Iterable[str]) -> dict[str, Any]:
    """Read the JSON object in an answer; of several, the one that was asked for.

    Args:
        text: The whole answer.
        names: Keys of which it should have some.

    Raises:
        ValueError: There is no object.

    Example:
        >>> loads_object('Not {"x": 0}, but {"answer": 42}.', ["answer"])
        {'answer': 42}
    """
    wanted, best = set(names), None
    for value in _readings(text, "{"):
        for found in _objects(value):
            if not wanted or wanted & found.keys():
                return sound(found)
            best = best or found
    if best is None:
        raise ValueError("it has no JSON object")
    return sound(best)


def sound(value: Any) -> Any:
    """Replace half characters in texts, which can be neither printed nor sent.

    Args:
        value: A text, or JSON-like values, not nested deeper than JSON can be read.
    """
    if isinstance(value, str):
        return value if value.isascii() else _sound_text(value)
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {sound(key): sound(item) for key, item in pairs}
    if isinstance(value, list):
        return [sound(item) for item in cast("list[Any]", value)]
    return value


def _sound_text(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _readings(text: str, openers: str) -> Iterator[Any]:
    """Give what a text may mean as JSON, the likeliest first."""
    with contextlib.suppress(ValueError, RecursionError):
        yield json.loads(text, strict=False)
        return
    starts = _starts(text, openers)
    if not starts:
        return
    with contextlib.suppress(ValueError, RecursionError):
        yield _DECODER.raw_decode(text, starts[0])[0]
    rest = text[starts[0] :]
    if _is_mendable(rest):
        import json_repair

        # It raises the last one for no JSON at all.
        with contextlib.suppress(ValueError, RecursionError, AssertionError):
            yield json_repair.loads(rest)
    else:
        with contextlib.suppress(ValueError):
            yield _begun(rest)
    for start in starts[1:]:  # only now: these may be parts of a broken value
        with contextlib.suppress(ValueError, RecursionError):
            yield _DECODER.raw_decode(text, start)[0]


def _starts(text: str, openers: str) -> list[int]:
    places = (found.start() for found in _BRACKETS.finditer(text) if found[0] in openers)
    return [place for place, _ in zip(places, range(_MAX_STARTS), strict=False)]


def _objects(value: Any) -> list[dict[str, Any]]:
    values = cast("list[Any]", value) if isinstance(value, list) else [value]
    return [cast("dict[str, Any]", item) for item in values if isinstance(item, dict)]


def _begun(text: str) -> Any:
    """Read a value that was cut off, as far as it goes."""
    from pydantic_core import from_json

    return from_json(text.encode(errors="replace"), allow_partial="trailing-strings")


def _is_mendable(text: str) -> bool:
    most_marks = _MAX_WORK / (len(text) + 1)
    if most_marks < _LEAST_MARKS or len(_MARKS.findall(text)) > most_marks:
        return False
    depths = {"{": 0, "[": 0}
    for bracket in _BRACKETS.findall(text):
        opener = "{" if bracket in "{}" else "["
        depths[opener] = max(0, depths[opener] + (1 if bracket == opener else -1))
        if sum(depths.values()) > _MAX_NESTING:
            return False
    return True
