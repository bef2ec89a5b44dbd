"""Lists, dicts and models as nested elements: ``<tags><item>a</item><item>b</item></tags>``.

A list's items are ``item`` elements. A dict's or model's members are elements of their names; a key
that cannot be a tag stands in ``<entry key="...">``. What is neither is the element's text.

Only a type tells whether ``<x>5</x>`` is a number or a text, so both directions follow a JSON
schema. A text that would be read back as something else is written as JSON.

Reading takes what models write: text with tags that are not closed, JSON in place of elements. No
parser of XML is needed, so there is nothing to declare or to expand; what is nested too deep is
text.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, cast
from xml.sax.saxutils import quoteattr

from nbtool.adapters.tags import ATTRIBUTES, decoded, escaped, text_of
from nbtool.adapters.values import json_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from nbtool.adapters.shapes import Shape

_ITEM, _ENTRY = "item", "entry"
_MAX_DEPTH = 64
_NAME = r"[^\W\d][\w.-]*"
_IS_NAME = re.compile(_NAME)
_TAG = re.compile(rf"<(/)?({_NAME}){ATTRIBUTES}>")
_KEY = re.compile(r"""\skey\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_SPACE_AT_AN_END = re.compile(r"^\s+|\s+\Z")


# -- writing -------------------------------------------------------------------------------------


def element(name: str, value: Any, shape: Shape) -> str:
    """Write a value as an element.

    Args:
        name: Its tag.
        value: JSON-like values.
        shape: What the values of its type look like.
    """
    return _element(name, "", value, shape)


def _element(tag: str, key: str, value: Any, shape: Shape) -> str:
    inside = "".join(_members(value, shape)) or _leaf(value, shape)
    return f"<{tag}{key}>{inside}</{tag}>" if inside else f"<{tag}{key} />"


def _members(value: Any, shape: Shape) -> Iterator[str]:
    if isinstance(value, list):
        for at, item in enumerate(cast("list[Any]", value)):
            yield _element(_ITEM, "", item, shape.item(at))
    elif isinstance(value, dict):
        for name, member in cast("dict[str, Any]", value).items():
            is_tag = _IS_NAME.fullmatch(name) and name not in (_ITEM, _ENTRY)
            tag, key = (name, "") if is_tag else (_ENTRY, f" key={quoteattr(name)}")
            yield _element(tag, key, member, shape.member(name))


def _leaf(value: Any, shape: Shape) -> str:
    text = "" if value in (None, [], {}) else value if isinstance(value, str) else json_text(value)
    read = shape.leaf(text)
    if type(read) is not type(value) or read != value:
        text = json_text(value)
    return _SPACE_AT_AN_END.sub(_as_entities, escaped(text))


def _as_entities(space: re.Match[str]) -> str:
    return "".join(f"&#{ord(character)};" for character in space[0])


def sample(name: str, shape: Shape) -> str:
    """Show a model what the elements of a type look like.

    Args:
        name: Their tag.
        shape: What the values of the type look like.
    """
    return _sample(name, "", shape, frozenset())


def _sample(tag: str, key: str, shape: Shape, around: frozenset[int]) -> str:
    shown = dict.fromkeys(_sample_inside(each, around) for each in shape.alternatives)
    if "null" in shape.kinds:
        shown["nothing"] = None
    is_leaf = shape.kinds.isdisjoint({"array", "object"})
    about = f" ({escaped(shape.about)})" if shape.about and is_leaf else ""
    return f"<{tag}{key}>{' or '.join(shown)}{about}</{tag}>"


def _sample_inside(shape: Shape, around: frozenset[int]) -> str:
    schema = shape.schema
    if id(schema) in around:
        return "..."  # the type has itself inside
    inside = around | {id(schema)}
    if shape.kinds == {"array"}:
        places = range(len(schema.get("prefixItems", ())) or 1)
        return "".join(_sample(_ITEM, "", shape.item(at), inside) for at in places)
    if shape.kinds == {"object"}:
        members: Iterable[str] = schema.get("properties", ())
        shown = [_sample(name, "", shape.member(name), inside) for name in members]
        if not shown and shape.member("").is_open:
            return "JSON object"  # only JSON tells which of its values are numbers
        return "".join(shown) or _sample(_ENTRY, ' key="..."', shape.member(""), inside)
    if shape.choices:
        return escaped("; ".join(map(str, shape.choices)))
    form = schema.get("format") or schema.get("type", "string")
    return "..." if form == "string" else escaped(str(form))


# -- reading -------------------------------------------------------------------------------------


@dataclasses.dataclass(slots=True)
class _Element:
    """Hold where an element stands in a text: what is between its tags, and what is outside."""

    tag: str
    name: str  # of the member that it is
    start: int
    end: int
    before: int
    after: int
    children: list[_Element] = dataclasses.field(default_factory=list["_Element"])


def has_elements(inside: str) -> bool:
    """Tell whether there is any tag in a text.

    Args:
        inside: The text.
    """
    return _TAG.search(inside) is not None


def value_of(found: list[str], shape: Shape) -> Any:
    """Read a value out of what stands between its tags.

    Args:
        found: Elements, or text; of several ones the first, if they are not the items of a list.
        shape: What the values of its type look like; it decides what is possible.

    Returns:
        JSON-like values, not checked any further.

    Example:
        >>> from nbtool.adapters.shapes import Shape
        >>> value_of(["<item>1</item><item>two</item>"], Shape({"type": "array"}))
        [1, 'two']
    """
    may_be_items = len(found) > 1 and "array" in shape.kinds and "string" not in shape.kinds
    if may_be_items and not any(map(_is_list, found)):
        places = enumerate(found)
        return [_value(inside, _tree(inside), shape.item(at)) for at, inside in places]
    return _value(found[0], _tree(found[0]), shape)


def _is_list(inside: str) -> bool:
    return inside.startswith("[") or any(child.tag == _ITEM for child in _tree(inside).children)


def _tree(text: str) -> _Element:
    """Find the elements in a text; one that is not closed ends with the one around it."""
    root = _Element("", "", 0, len(text), 0, len(text))
    around = [root]
    for tag in _TAG.finditer(text):
        closes, name, attributes = tag.groups()
        if closes:
            _close(around, tag)
        elif len(around) <= _MAX_DEPTH:
            key = _KEY.search(attributes) if name == _ENTRY else None
            member = decoded(key[1] or key[2] or "") if key else name
            found = _Element(name, member, tag.end(), len(text), tag.start(), len(text))
            around[-1].children.append(found)
            if attributes.endswith("/"):
                found.end = found.after = tag.end()
            else:
                around.append(found)
    return root


def _close(around: list[_Element], tag: re.Match[str]) -> None:
    for depth in range(len(around) - 1, 0, -1):
        if around[depth].tag == tag[2]:
            for closed in around[depth:]:
                closed.end = closed.after = tag.start()
            around[depth].after = tag.end()
            del around[depth:]
            return


def _value(text: str, found: _Element, shape: Shape) -> Any:
    inside = text_of(text[found.start : found.end])
    children, kinds = found.children, shape.kinds
    if not children:
        return shape.leaf(inside)
    if "array" in kinds and _are_items(children, shape):
        return [_value(text, child, shape.item(at)) for at, child in enumerate(children)]
    if "object" in kinds and not ("string" in kinds and _has_text_between(text, found)):
        return _object(text, children, shape)
    if "array" in kinds and "string" not in kinds:  # with one item, which has no tag of its own
        item = shape.item(0)
        return [_object(text, children, item) if "object" in item.kinds else inside]
    return inside


def _are_items(children: list[_Element], shape: Shape) -> bool:
    tags = {child.tag for child in children}
    if tags == {_ITEM}:
        return True
    # Models also write <cities><city>...</city><city>...</city></cities>.
    may_be_text = shape.kinds & {"string", "object"}
    return not may_be_text and len(tags) == 1 and not shape.item(0).has_member(*tags)


def _has_text_between(text: str, found: _Element) -> bool:
    ends = [found.start, *(child.after for child in found.children)]
    starts = [*(child.before for child in found.children), found.end]
    return any(text[end:start].strip() for end, start in zip(ends, starts, strict=True))


def _object(text: str, children: list[_Element], shape: Shape) -> dict[str, Any]:
    members: dict[str, list[_Element]] = {}
    for child in children:
        members.setdefault(child.name, []).append(child)
    return {name: _member(text, same, shape.member(name)) for name, same in members.items()}


def _member(text: str, same: list[_Element], shape: Shape) -> Any:
    """Read the elements of one name; where there are several, they may be items of a list."""
    if len(same) == 1 or "array" not in shape.kinds:
        return _value(text, same[0], shape)
    return [_value(text, each, shape.item(at)) for at, each in enumerate(same)]
