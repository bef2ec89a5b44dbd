"""Fields between tags: how a text is put between ``<name>`` and ``</name>``, and found there.

Whoever reads an answer, at once or while it arrives, follows these rules:

- A field is the text between the first ``<name>`` and the next ``</name>``, without the white
  space round it. (Where its type is not ``str``, elements of its own name may stand inside of it:
  the ``</name>`` that closes the first one counts. A list may be written as several elements.)
- Tags inside of a field are part of its text, and all else between fields is ignored. A field that
  is not closed is none: its answer was cut off.
- A text has its entities (``&lt;`` is ``<``) up to its first ``<``, as markup that a model did not
  escape is meant as it stands; a text that is all one CDATA section is what is inside.

So `escaped` text, which has no ``<`` at all, comes back as it was.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING

from nbtool.adapters.content import Content
from nbtool.mending import sound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

_ENTITIES = {"amp": "&", "lt": "<", "gt": ">", "quot": '"', "apos": "'"}
_ENTITY = re.compile(r"&(?:(amp|lt|gt|quot|apos)|#([0-9]{1,7})|#x([0-9A-Fa-f]{1,6}));")
_BEGUN_ENTITY = re.compile(r"&[#\w]{0,8}$")
ATTRIBUTES = r"((?:\s[^<>]*)?/?)"  # of a tag; they mean nothing
_CDATA_OPENS, _CDATA_CLOSES = "<![CDATA[", "]]>"
_LAST_CHARACTER = 0x10FFFF
_HALVES = range(0xD800, 0xE000)  # of characters: no text may have one alone


# -- writing -------------------------------------------------------------------------------------


def between(name: str, text: str) -> Content:
    """Write a field.

    Args:
        name: Its name.
        text: Its text, in which all that must be is escaped.
    """
    return Content(f"<{name}>\n", text, f"\n</{name}>")


def escaped(text: str) -> str:
    """Escape a text of an answer: none of it can pass for a tag or an entity.

    Args:
        text: A value's text.
    """
    return sound(text).replace("&", "&amp;").replace("<", "&lt;")


def guarded(text: str, names: Collection[str]) -> Content:
    """Escape the tags of some names in an input; all else stays readable.

    Args:
        text: A value's text. Also in a `Content` they are escaped: it may have tags that are
            meant, but of other names.
        names: The fields of the signature.
    """
    tag = _anything_like_a_tag(names)
    pieces = text.pieces if isinstance(text, Content) else (sound(text),)
    return Content(*(tag.sub("&lt;", p) if isinstance(p, str) else p for p in pieces))


def _anything_like_a_tag(names: Collection[str]) -> re.Pattern[str]:
    """Match the ``<`` of what a model might take for a tag of a field."""
    either = "|".join(map(re.escape, names))
    return re.compile(rf"<(?=\s*+(?:/\s*+)?+(?:{either})(?![\w.-]))", re.IGNORECASE)


# -- reading -------------------------------------------------------------------------------------


def cut(text: str, names: Collection[str], nesting: Collection[str] = ()) -> dict[str, list[str]]:
    """Cut an answer into its fields, in time that grows with its length alone.

    Args:
        text: The whole answer.
        names: Fields that it may have.
        nesting: Those of them in which elements of their own name may stand.

    Returns:
        What stands between the tags, by name, as it was written but for white space around; the
        first one is the field.

    Example:
        >>> cut("So: <a> x <b>y</b> </a><b>z</b><a>late</a>", ["a", "b"])
        {'a': ['x <b>y</b>', 'late'], 'b': ['z']}
    """
    fields: dict[str, list[str]] = {}
    for element in elements_in(text, names, nesting):
        if element.is_closed:
            fields.setdefault(element.name, []).append(element.inside.strip())
    return fields


@dataclasses.dataclass(frozen=True, slots=True)
class Element:
    """Be one field of an answer, as it was written.

    Attributes:
        name: Its name.
        inside: What stands between its tags; all that follows where it is not closed.
        end: Position behind it.
        is_closed: Whether it has an end.
    """

    name: str
    inside: str
    end: int
    is_closed: bool = True


def elements_in(
    text: str, names: Collection[str], nesting: Collection[str] = (), position: int = 0
) -> Iterator[Element]:
    """Find fields in an answer, one after the other.

    Args:
        text: The answer, whole or so far.
        names: Fields that it may have.
        nesting: As for `cut`.
        position: Where to begin.

    Yields:
        The fields. What follows one that is not closed is looked through too, for it may be
        none; while an answer arrives, the first of these is the one that is being written.
    """
    opening = re.compile(rf"<({'|'.join(map(re.escape, names))}){ATTRIBUTES}>")
    balanced, never_closed = set(nesting), set[str]()
    while names and (found := opening.search(text, position)):
        name, position = found[1], found.end()
        if found[2].endswith("/"):
            yield Element(name, "", position)
            continue
        closing = None if name in never_closed else _closing(text, name, position, balanced)
        if closing is not None:
            yield Element(name, text[position : closing.start()], closing.end())
            position = closing.end()
        elif name not in never_closed:
            never_closed.add(name)  # so that nobody looks for it again and again
            yield Element(name, text[position:], position, is_closed=False)


def _closing(text: str, name: str, position: int, nesting: set[str]) -> re.Match[str] | None:
    """Find the tag that closes an element, where its tags are balanced; else the next one."""
    first: re.Match[str] | None = None
    open_elements = 1
    for tag in re.compile(rf"<(/)?{re.escape(name)}{ATTRIBUTES}>").finditer(text, position):
        if not tag[1]:
            open_elements += not tag[2].endswith("/")
            continue
        first = first or tag
        open_elements -= 1
        if name not in nesting or not open_elements:
            return tag
    nesting.discard(name)  # they are not balanced: nobody shall count them again
    return first


def text_of(inside: str) -> str:
    """Read the text between two tags.

    Args:
        inside: What stands there.

    Example:
        >>> text_of("1 &lt; 2 &amp;&amp; 2 &lt; 3"), text_of("<p>Fish &amp; chips</p>")
        ('1 < 2 && 2 < 3', '<p>Fish &amp; chips</p>')
    """
    text = inside.strip()
    if text.startswith(_CDATA_OPENS) and text.endswith(_CDATA_CLOSES):
        return text[len(_CDATA_OPENS) : -len(_CDATA_CLOSES)].strip()
    plain, first, rest = text.partition("<")
    return f"{decoded(plain)}{first}{rest}"


def begun_text_of(inside: str) -> str:
    """Read the text of a field that is still being written, as far as it is certain.

    Args:
        inside: What stands behind its opening tag.

    Example:
        >>> begun_text_of(" 1 &lt; 2 &am"), begun_text_of("see <b>x</b> </ans")
        ('1 < 2', 'see <b>x</b>')
    """
    text = inside.lstrip()
    if text[: len(_CDATA_OPENS)] == _CDATA_OPENS[: len(text)]:
        return ""
    plain, first, rest = text.partition("<")
    if not first:
        return decoded(_BEGUN_ENTITY.sub("", plain)).rstrip()
    if rest.rfind(">") < rest.rfind("<") or ">" not in rest:  # its last tag is not complete
        rest = rest[: rest.rfind("<")] if "<" in rest else None
    return f"{decoded(plain)}{'' if rest is None else first + rest}".rstrip()


def decoded(text: str) -> str:
    """Replace the entities in a text by what they stand for.

    Args:
        text: A text without tags.
    """
    return _ENTITY.sub(_character, text)


def _character(entity: re.Match[str]) -> str:
    if entity[1]:
        return _ENTITIES[entity[1]]
    code = int(entity[2]) if entity[2] else int(entity[3], 16)
    return chr(code) if code <= _LAST_CHARACTER and code not in _HALVES else entity[0]
