"""Readers of answers that are still arriving: which text belongs to which field.

A reader is fed pieces of one answer, cut anywhere, and gives out what is certain: never a part of
a marker, and no white space that `parse` would strip. Fields that are texts come as they arrive;
others come whole, as soon as they are complete. What `parse` mends afterwards a reader cannot
know; whoever shows the pieces compares them with the fields at the end.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Literal

from pydantic_core import from_json

from nbtool.adapters import tags
from nbtool.adapters.content import MARKER, unescaped
from nbtool.adapters.values import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtool.runtime.pieces import Piece
    from nbtool.signatures.signature import Signature

_Place = Literal["start", "inside", "behind a marker", "ignored"]  # of a line

_MARKER_START = "[[ ## "
_END_OF_MARKER = " ## ]]"
_GROWTH = 200  # JSON is read again when it has grown by this fraction of its length
_MOST_STARTS = 64  # braces at which the object may begin
_STRING = re.compile(r'"(?:[^"\\]|\\.)*', re.DOTALL)
_CONTROLS = {code: f"\\u{code:04x}" for code in range(0x20)}


class FieldTexts:
    """Know which fields an answer has, and which of them are texts.

    Args:
        signature: What was asked.
    """

    def __init__(self, signature: type[Signature]) -> None:
        self.is_text = {n: f.annotation is str for n, f in signature.output_fields.items()}

    def as_text(self, value: Any) -> str:
        """Write a field's value as text."""
        return as_text(value)


class ChatReader(FieldTexts):
    r"""Read the fields of a `ChatAdapter`'s answer, each below its marker line.

    Example:
        >>> from nbtool.signatures.signature import Signature
        >>> reader = ChatReader(Signature("question -> answer"))
        >>> list(reader.feed("[[ ## answer ## ]]\nPa"))
        [('answer', 'Pa', False)]
        >>> list(reader.feed("ris \n[[ ## comp"))
        [('answer', 'ris', False)]
    """

    def __init__(self, signature: type[Signature]) -> None:
        super().__init__(signature)
        self._line = ""  # of the current line, what has not been read
        self._place: _Place = "start"
        self._field: str | None = None
        self._ended: set[str] = set()
        self._blank = ""  # white space that is part of the value if more text follows
        self._has_begun = False
        self._whole = ""  # of a field that is no text

    def feed(self, text: str) -> Iterator[Piece]:
        """Take the next piece of the answer, and give what is certain now."""
        *lines, rest = (self._line + text).split("\n")
        for line in lines:
            yield from self._read(line, ends=True)
            yield from self._give("\n")
            self._place = "start"
        yield from self._read(rest, ends=False)

    def finish(self) -> Iterator[Piece]:
        """Give what was held back; the answer has no more."""
        yield from self._read(self._line, ends=True)
        if self._field is not None and self._whole:
            yield (self._field, self._whole, False)

    def _read(self, line: str, *, ends: bool) -> Iterator[Piece]:
        """Read a line, or as much of one as is certain; the rest is kept for later."""
        self._line = line
        if self._is_held(ends=ends):
            return
        marker = MARKER.match(line) if self._place == "start" else None
        if marker is not None:
            yield from self._enter(marker[1])
            self._place = "behind a marker"
            self._line = line[marker.end(1) + len(_END_OF_MARKER) :].lstrip(" \t")
            if self._is_held(ends=ends):
                return
        line, self._line = self._line, ""
        yield from self._give_on(line)

    def _is_held(self, *, ends: bool) -> bool:
        """Tell whether the line may become a marker, or one that is escaped."""
        is_first = self._place == "behind a marker" and not self._has_begun
        begun = self._line if self._has_begun else self._line.lstrip()
        return not ends and (is_first or self._place == "start") and _may_be_marker(begun)

    def _give_on(self, line: str) -> Iterator[Piece]:
        """Give a part of a line that is text."""
        if not self._has_begun:
            line = unescaped(line.lstrip())
        elif self._place == "start":
            line = unescaped(line)
        if self._place == "start":
            self._place = "inside"
        if self._place == "behind a marker" and "\r" in line:
            yield from self._give(line.partition("\r")[0])  # `MARKER` takes no more of its line
            self._place = "ignored"
        elif self._place != "ignored":
            yield from self._give(line)

    def _enter(self, name: str) -> Iterator[Piece]:
        """Begin a section; the first one with a name counts."""
        left = self._field
        if left is not None:
            self._ended.add(left)
            yield (left, self._whole, True)
        self._field = name if name in self.is_text and name not in self._ended else None
        self._blank = self._whole = ""
        self._has_begun = False

    def _give(self, text: str) -> Iterator[Piece]:
        if self._field is None:
            return
        if not self._has_begun:
            text = text.lstrip()
        solid = text.rstrip()
        if not solid:
            self._blank += text if self._has_begun else ""
            return
        piece, self._blank = self._blank + solid, text[len(solid) :]
        self._has_begun = True
        if self.is_text[self._field]:
            yield (self._field, piece, False)
        else:
            self._whole += piece


def _may_be_marker(begun: str) -> bool:
    """Tell whether a line that has only begun may become a marker, or one that is escaped."""
    word = begun.lstrip(" \t").lstrip("\\")
    if not word.startswith(_MARKER_START):
        return _MARKER_START.startswith(word)
    name, found, end = word.removeprefix(_MARKER_START).partition(" ")
    return not found or (_END_OF_MARKER.startswith(f" {end}") and bool(name))


class Growing(FieldTexts):
    """Read an answer as a whole, again each time that it has grown enough.

    The time that it takes grows with the length of an answer, and not with its square.
    """

    def __init__(self, signature: type[Signature]) -> None:
        super().__init__(signature)
        self._pieces: list[str] = []
        self._length = 0
        self._read_at = 0
        self._is_whole = False
        self._sent: dict[str, int] = {}
        self._ended: set[str] = set()

    def feed(self, text: str) -> Iterator[Piece]:
        """Take the next piece of the answer, and give what is certain now."""
        self._pieces.append(text)
        self._length += len(text)
        if self._length - self._read_at > self._read_at // _GROWTH:
            yield from self._read_again()

    def finish(self) -> Iterator[Piece]:
        """Give what was held back; the answer has no more."""
        self._is_whole = True
        yield from self._read_again()

    def _read_again(self) -> Iterator[Piece]:
        self._read_at = self._length
        text = "".join(self._pieces)
        self._pieces = [text]
        return self._read(text)

    def _read(self, text: str) -> Iterator[Piece]:
        """Read the whole answer so far, and give what is new."""
        raise NotImplementedError

    def _new(self, name: str, whole: str, *, is_last: bool) -> Iterator[Piece]:
        """Give what a field has more than before."""
        new = whole[self._sent.get(name, 0) :]
        self._sent[name] = max(len(whole), self._sent.get(name, 0))
        if is_last:
            self._ended.add(name)
        if new or is_last:
            yield (name, new, is_last)


class JSONReader(Growing):
    """Read the keys of the JSON object in an answer.

    Example:
        >>> from nbtool.signatures.signature import Signature
        >>> reader = JSONReader(Signature("question -> answer, score: int"))
        >>> list(reader.feed('{"answer": "Par'))
        [('answer', 'Par', False)]
        >>> list(reader.feed('is", "score": 1'))
        [('answer', 'is', True)]
    """

    _start = 0
    _starts = 0

    def _read(self, text: str) -> Iterator[Piece]:
        found = self._object(text)
        for number, (name, value) in enumerate(found.items(), start=1):
            if name not in self.is_text or name in self._ended:
                continue
            is_last = number < len(found)
            if self.is_text[name] and isinstance(value, str):
                yield from self._new(name, value, is_last=is_last)
            elif is_last:
                yield from self._new(name, as_text(value), is_last=True)

    def _object(self, text: str) -> dict[str, Any]:
        """Read the object as far as it has come; an empty one where there is none yet."""
        while True:
            start = text.find("{", self._start)
            if start < 0 or self._starts > _MOST_STARTS:
                return {}
            found = _begun(text[start:])
            if found is not None or self._sent:
                return found or {}
            self._start = start + 1  # prose may have braces too
            self._starts += 1


def _begun(text: str) -> dict[str, Any] | None:
    raw = text.encode(errors="replace")
    try:
        return from_json(raw, allow_partial="trailing-strings")
    except ValueError:
        pass
    # Models break lines inside of strings, which `json.loads` may be told to allow.
    mended = _STRING.sub(lambda string: string[0].translate(_CONTROLS), text)
    try:
        return from_json(mended.encode(errors="replace"), allow_partial="trailing-strings")
    except ValueError:
        return None


class XMLReader(Growing):
    """Read the fields of an `XMLAdapter`'s answer, as `nbtool.adapters.tags` tells.

    Example:
        >>> from nbtool.signatures.signature import Signature
        >>> reader = XMLReader(Signature("question -> answer"))
        >>> list(reader.feed("<answer> Paris &am")), list(reader.feed("p; Rome</ans"))
        ([('answer', 'Paris', False)], [('answer', ' & Rome', False)])
    """

    def __init__(self, signature: type[Signature]) -> None:
        super().__init__(signature)
        self._names = tuple(signature.fields)
        self._nesting = [name for name, is_text in self.is_text.items() if not is_text]
        self._position = 0  # behind the last field that is complete

    def _read(self, text: str) -> Iterator[Piece]:
        for element in tags.elements_in(text, self._names, self._nesting, self._position):
            name, is_closed = element.name, element.is_closed
            if self._is_whole and not is_closed:
                continue  # it is none
            if self.is_text.get(name) and name not in self._ended:  # others come when all is read
                written = tags.text_of if is_closed else tags.begun_text_of
                yield from self._new(name, written(element.inside), is_last=is_closed)
            if not is_closed:
                return  # it is being written
            self._position = element.end
