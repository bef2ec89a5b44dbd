"""`Content`: text of a prompt, with what is more than text; and the markers of its fields.

A field stands below a line ``[[ ## name ## ]]``. A line of a value that looks so gets a backslash
in front, so that nothing in a value can pass for a field; reading an answer takes it away again.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Self, TypeAlias, cast

from nbtool.mending import sound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

Part: TypeAlias = "dict[str, Any]"

END_NAME = "completed"
MARKER = re.compile(r"^[ \t]*\[\[ ## ([^\s\]]+) ## \]\][ \t]*([^\r]*)")
_OPENING = "[[ ## "
_MARKER_LINE = re.compile(r"(?m)^([ \t]*)(\\*\[\[ ## ([^\s\]]+) ## \]\])")
_ESCAPED_LINE = re.compile(r"(?m)^([ \t]*)\\(\\*\[\[ ## [^\s\]]+ ## \]\])")


class Content(str):  # noqa: SLOT000 - a str cannot have slots with values
    """Be a text that is ready for a prompt.

    Its markers are meant, and it may hold parts that are no text. As a string it is all text; in
    place of each part stands its name.

    Args:
        *pieces: Texts, contents, and parts in the form of OpenAI's chat messages.

    Attributes:
        pieces: Texts and parts in order.

    Example:
        >>> print(Content("See ", {"type": "image_url", "image_url": {"url": "..."}}, "!"))
        See <image_url>!
    """

    pieces: tuple[str | Part, ...]

    def __new__(cls, *pieces: str | Part) -> Self:
        """Join texts, contents and parts."""
        flat: list[str | Part] = []
        for piece in pieces:
            if isinstance(piece, Content):
                flat += piece.pieces
            else:
                flat.append(piece)
        try:
            text = "".join(cast("list[str]", flat))
        except TypeError:  # a part is in it
            self = super().__new__(cls, "".join(map(_named, flat)))
            self.pieces = tuple(flat)
        else:
            self = super().__new__(cls, text)
            self.pieces = (text,)
        return self


def _named(piece: str | Part) -> str:
    return piece if isinstance(piece, str) else f"<{piece.get('type', 'part')}>"


def joined(separator: str, texts: Iterable[str]) -> Content:
    """Join texts, of which some may hold parts.

    Args:
        separator: What stands between two of them.
        texts: Texts or contents; empty ones are left out.
    """
    pieces: list[str] = []
    for text in filter(None, texts):
        pieces += [separator, text] if pieces else [text]
    return Content(*pieces)


def message_content(text: str) -> str | list[Part]:
    """Return the content of a chat message: a text, or a list of parts.

    Args:
        text: A text or a `Content`.
    """
    if not isinstance(text, Content):
        return str(text)
    if all(isinstance(piece, str) for piece in text.pieces):
        return "".join(cast("tuple[str, ...]", text.pieces))
    parts: list[Part] = []
    for piece in text.pieces:
        if not isinstance(piece, str):
            parts.append(piece)
        elif parts and parts[-1].get("type") == "text":
            parts[-1] = {"type": "text", "text": f"{parts[-1]['text']}{piece}"}
        elif piece:
            parts.append({"type": "text", "text": str(piece)})
    return parts


def section(name: str, text: str) -> Content:
    """Write a field below its marker.

    Args:
        name: Name of the field.
        text: Its value; a plain text is escaped, a `Content` is ready.
    """
    ready = text if isinstance(text, Content) else escaped(text)
    return Content(f"[[ ## {name} ## ]]\n", ready)


def escaped(text: str, names: Collection[str] | None = None) -> Content:
    """Make a text safe, so that none of its lines is taken for a marker.

    Args:
        text: A value's text.
        names: Fields whose markers are meant; by default any marker is.
    """
    if _OPENING not in text:
        return Content(sound(text))

    def with_backslash(found: re.Match[str]) -> str:
        if names is not None and found[3] not in names:
            return found[0]
        return f"{found[1]}\\{found[2]}"

    return Content(_MARKER_LINE.sub(with_backslash, sound(text)))


def unescaped(text: str) -> str:
    """Undo `escaped` in a text that was read below a marker.

    Args:
        text: A field's text in an answer.
    """
    return _ESCAPED_LINE.sub(r"\1\2", text) if _OPENING in text else text
