"""What the JSON values of a type look like, as its JSON schema tells: for readers of markup."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool import mending
from nbtool.adapters.values import json_text

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema: TypeAlias = "dict[str, Any]"

_KINDS = frozenset({"null", "boolean", "integer", "number", "string", "array", "object"})
_KIND_OF = {bool: "boolean", int: "integer", float: "number", str: "string", list: "array",
            dict: "object", type(None): "null"}  # fmt: skip
_NOTHING: dict[str, Any] = {"null": None, "string": "", "array": [], "object": {}}
_UNIONS = ("anyOf", "oneOf")


class Shape:
    """Tell which kinds of JSON values a schema allows, and what they hold.

    Args:
        schema: A JSON schema; an empty one allows everything.
        definitions: What its ``$ref`` refer to; by default its own ``$defs``.

    Attributes:
        kinds: Names of the kinds, as JSON schemas have them.
        choices: The values among which one must be, where there are such.
        about: What a value means, in words.
    """

    def __init__(self, schema: Schema, definitions: Schema | None = None) -> None:
        self.about: str = schema.get("description", "")
        self._definitions: Schema = schema.get("$defs", {}) if definitions is None else definitions
        self._plain = list(_alternatives(schema, self._definitions, frozenset()))
        self.choices = [choice for plain in self._plain for choice in _choices(plain)]
        self.kinds = {kind for plain in self._plain for kind in _kinds(plain)}

    @property
    def alternatives(self) -> list[Shape]:
        """The shapes that there are to choose from, but for null."""
        plain = [each for each in self._plain if _kinds(each) != {"null"}]
        return [Shape(each, self._definitions) for each in plain]

    @property
    def is_open(self) -> bool:
        """Whether a value may be anything."""
        return self.kinds >= _KINDS

    @property
    def schema(self) -> Schema:
        """The schema of the first alternative, without a reference."""
        return self._plain[0] if self._plain else {}

    def item(self, at: int) -> Shape:
        """Return the shape of an item of an array.

        Args:
            at: Its place, from 0.
        """
        return self._either([_item(plain, at) for plain in self._of_kind("array")])

    def member(self, name: str) -> Shape:
        """Return the shape of a member of an object.

        Args:
            name: Its key.
        """
        return self._either([_member(plain, name) for plain in self._of_kind("object")])

    def has_member(self, name: str) -> bool:
        """Tell whether a schema names a member, or says that there may be others.

        Args:
            name: Its key.
        """
        return any(
            name in plain.get("properties", ()) or plain.get("additionalProperties")
            for plain in self._of_kind("object")
        )

    def leaf(self, text: str) -> Any:
        """Read a JSON-like value out of a text that stands for it without any markup.

        Args:
            text: The text, without white space that is not meant.

        Returns:
            What the text means as one of the kinds that are allowed; else the text.
        """
        for choice in self.choices:
            if text == (choice if isinstance(choice, str) else json_text(choice)):
                return choice
        if not text:
            return next((value for kind, value in _NOTHING.items() if kind in self.kinds), "")
        if self.kinds == {"string"}:
            return text
        if self.kinds == {"string", "null"}:
            return self._string_or_null(text)
        try:
            value = json.loads(text) if "string" in self.kinds else mending.loads(text)
        except (ValueError, RecursionError):
            value = text
        if self._allows(value):
            return value
        is_item = "array" in self.kinds and "string" not in self.kinds
        return [self.item(0).leaf(text)] if is_item else text

    def _string_or_null(self, text: str) -> str | None:
        if text.casefold() in ("null", "none"):
            return None
        if not text.startswith('"'):
            return text
        try:
            unquoted: str = json.loads(text)
        except ValueError:
            return text
        # Quotes count where the text could not stand without them: '"null"', '""'.
        return text if self.leaf(unquoted) == unquoted else unquoted

    def _allows(self, value: Any) -> bool:
        kind = _KIND_OF[cast("type[Any]", type(value))]
        return kind in self.kinds or (kind == "integer" and "number" in self.kinds)

    def _of_kind(self, kind: str) -> list[Schema]:
        return [plain for plain in self._plain if kind in _kinds(plain)]

    def _either(self, schemas: list[Schema]) -> Shape:
        known = schemas or [{}]
        return Shape(known[0] if len(known) == 1 else {"anyOf": known}, self._definitions)


def _alternatives(schema: Schema, definitions: Schema, seen: frozenset[str]) -> Iterator[Schema]:
    """Give the members of a union, with what they refer to in their place."""
    reference: str | None = schema.get("$ref")
    if reference is not None:
        if reference not in seen:  # else it is a union that has itself as a member
            named = definitions.get(reference.rpartition("/")[2], {})
            yield from _alternatives(named, definitions, seen | {reference})
        return
    members = [member for key in _UNIONS for member in schema.get(key, ())]
    if not members:
        yield schema
    for member in members:
        yield from _alternatives(member, definitions, seen)


def _choices(plain: Schema) -> list[Any]:
    return [*plain.get("enum", ()), *([plain["const"]] if "const" in plain else [])]


def _kinds(plain: Schema) -> set[str]:
    if choices := _choices(plain):
        return {_KIND_OF[cast("type[Any]", type(choice))] for choice in choices}
    named = plain.get("type", _KINDS)
    return {named} if isinstance(named, str) else set(named)


def _item(plain: Schema, at: int) -> Schema:
    each: list[Schema] = plain.get("prefixItems", [])
    rest = plain.get("items", {})
    return each[at] if at < len(each) else cast("Schema", rest) if isinstance(rest, dict) else {}


def _member(plain: Schema, name: str) -> Schema:
    properties: Schema = plain.get("properties", {})
    rest = plain.get("additionalProperties", {})
    return properties.get(name, rest if isinstance(rest, dict) else {})
