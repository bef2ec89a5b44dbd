"""Read `question, context: list[str] -> answer: int`: the names and types of the fields.

What cannot be read is shown with a caret under the place and a hint what to write instead.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from typing import TYPE_CHECKING, Any

from nbtool.errors import SignatureError
from nbtool.signatures.annotations import UnreadableTypeError, read_type

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    FieldTypes = dict[str, Any]

_STRING = re.compile(r"'(?:\\.|[^'\\])*'|\"(?:\\.|[^\"\\])*\"")
_ARROW_TYPO = re.compile("=+>|-\\s+>|[\u2192\u21d2\u27f6\u2013\u2014]>?|>|-")


def parse_signature(
    text: str, custom_types: Mapping[str, Any] | None = None
) -> tuple[FieldTypes, FieldTypes]:
    """Read the names and types of a signature's fields.

    Args:
        text: As in ``"question, context: list[str] -> answer: int"``, on one line or on several;
            a comma may follow the last field of a side, and there may be no inputs.
        custom_types: What type names mean, before the callers' frames are asked.

    Returns:
        Inputs and outputs in the text's order; the type is None where the text gives none.

    Raises:
        SignatureError: The text cannot be read; the message shows the place.
    """
    return _Reader(text, custom_types).read()


class _Reader:
    """Reads one text, once; every error can point at a place in it."""

    def __init__(self, text: str, custom_types: Mapping[str, Any] | None) -> None:
        self._text = text
        self._custom_types = custom_types
        # Arrows, commas and brackets inside of string literals are no grammar.
        self._masked = _STRING.sub(lambda found: "_" * len(found[0]), text)

    def read(self) -> tuple[FieldTypes, FieldTypes]:
        arrow = self._arrow()
        inputs = self._side("input", 0, arrow)
        outputs = self._side("output", arrow + len("->"), len(self._text))
        return inputs, outputs

    def _arrow(self) -> int:
        places = [found.start() for found in re.finditer("->", self._masked)]
        if len(places) == 1:
            return places[0]
        if places:
            at, hint = places[1], "keep one `->`: inputs on its left, outputs on its right."
        elif typo := _ARROW_TYPO.search(self._masked):
            at, hint = typo.start(), f"did you mean `->` instead of `{typo[0]}`?"
        else:
            at, hint = len(self._text), "name inputs and outputs, as in `question -> answer`."
        raise self._error(at, ", must contain exactly one '->'.", hint)

    def _side(self, side: str, start: int, end: int) -> FieldTypes:
        if not self._text[start:end].strip():
            if side == "input":  # as in `-> poem`
                return {}
            hint = "name at least one output field, as in `question -> answer`."
            raise self._error(start, ": the output side is empty.", hint)
        pieces = list(self._pieces(start, end))
        if not self._text[slice(*pieces[-1])].strip():
            pieces.pop()
        fields: FieldTypes = {}
        for begin, stop in pieces:
            colon = self._masked.find(":", begin, stop)
            name = self._name(begin, stop if colon < 0 else colon)
            if name in fields:
                at = self._text.index(name, begin)
                problem = f": field names must be distinct, but found duplicates: {name!r}."
                raise self._error(at, problem, "rename or remove one of them.")
            fields[name] = None if colon < 0 else self._type(colon + 1, stop)
        return fields

    def _pieces(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        depth = 0
        for at in range(start, end):
            depth += (self._masked[at] in "[({") - (self._masked[at] in "])}")
            if self._masked[at] == "," and depth <= 0:
                yield start, at
                start = at + 1
        yield start, end

    def _name(self, begin: int, end: int) -> str:
        name = self._text[begin:end].strip()
        at = begin + self._indent(begin, end)
        if not name:
            hint = "write `name` or `name: type` between two commas."
            raise self._error(at, ": a field name is missing.", hint)
        if keyword.iskeyword(name):
            hint = f"name it otherwise, e.g. `{name}_`; fields are passed as keyword arguments."
            raise self._error(at, f": {name!r} is a word of Python's own.", hint)
        if name.startswith("_"):
            hint = f"write `{name.strip('_') or 'name'}`; fields do not start with `_`."
            raise self._error(at, f": {name!r} starts with an underscore.", hint)
        if name == "self" or unicodedata.normalize("NFKC", name) != name:
            normal = unicodedata.normalize("NFKC", name)
            hint = f"write `{normal}`." if normal != name else "name it otherwise, e.g. `text`."
            raise self._error(at, f": {name!r} cannot be a keyword argument.", hint)
        if not name.isidentifier():
            parts = re.findall(r"\w+", name)
            hint = "separate fields by commas, and use letters, digits and `_` in a name"
            meant = f": `{', '.join(parts)}` or `{'_'.join(parts)}`." if parts[1:] else "."
            raise self._error(at, f": {name!r} is no name of a field.", hint + meant)
        return name

    def _type(self, begin: int, end: int) -> Any:
        text = self._text[begin:end]
        at = begin + self._indent(begin, end)
        if not text.strip():
            hint = "write a type after the colon, or leave the colon out for text."
            raise self._error(at, ": a type is missing.", hint)
        if "=" in self._masked[begin:end]:
            hint = "declare defaults in the class form: `k: int = InputField(default=3)`."
            raise self._error(self._masked.index("=", begin), ": a text has no defaults.", hint)
        try:
            return read_type(re.sub(r"\s", " ", text.strip()), self._custom_types)
        except UnreadableTypeError as exc:
            raise self._error(at + exc.at, f": {exc.problem}", exc.hint) from None

    def _indent(self, begin: int, end: int) -> int:
        piece = self._text[begin:end]
        return len(piece) - len(piece.lstrip()) if piece.strip() else 0

    def _error(self, at: int, problem: str, hint: str) -> SignatureError:
        start = self._text.rfind("\n", 0, at) + 1
        line = self._text[start:].partition("\n")[0].replace("\t", " ")
        message = f"Invalid signature format: {self._text!r}{problem}"
        return SignatureError(f"{message}\n    {line}\n    {' ' * (at - start)}^", hint=hint)
