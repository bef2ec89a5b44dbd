"""JSON schemas of answers."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Annotated, Any, TypeAlias, cast

import pydantic

if TYPE_CHECKING:
    from collections.abc import Callable

    from pydantic.fields import FieldInfo

    from nbtool.signatures.signature import Signature

Schema = dict[str, Any]
_Key: TypeAlias = "tuple[str, Any, tuple[Any, ...]]"  # name, type and limits of a field


def output_schema(signature: type[Signature]) -> Schema:
    """Return the JSON schema of an object that has all output fields of a signature.

    Args:
        signature: Names the fields, their types and limits.

    Returns:
        An object schema: properties in the signature's order, all required, no others. A field
        whose type has no schema may be anything.
    """
    fields = tuple(_key(name, field) for name, field in signature.output_fields.items())
    return _cached(_object_schema, _new_object_schema, fields)


def field_schema(field: FieldInfo) -> Schema:
    """Return the JSON schema of one field's values; empty where its type has none.

    Args:
        field: Has a type, and limits.
    """
    return _cached(_schema, _new_schema, _key("", field))


def strict_schema(signature: type[Signature]) -> Schema | None:
    """Return the schema to which a provider can hold a model strictly.

    Args:
        signature: Names the fields, their types and limits.

    Returns:
        None where an output may have keys that nobody knows, or a form that strict schemas
        cannot express.

    Source:
        OpenAI's guide to structured outputs: all keys required, no others, a few keywords only.
    """
    try:
        return _closed(output_schema(signature))
    except _OpenSchemaError:
        return None


class _OpenSchemaError(Exception):
    """Say that a schema cannot be strict."""


# Limits that are not listed are left out: they are checked when the answer is read.
_KEPT = frozenset({
    *("type", "enum", "const", "description", "pattern", "format"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    *("minItems", "maxItems"),
})  # fmt: skip
_FORMATS = frozenset({
    *("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"),
})  # fmt: skip
_TYPED = frozenset({"type", "enum", "const", "anyOf"})
_INEXPRESSIBLE = frozenset({"oneOf", "allOf", "not", "prefixItems", "patternProperties"})


def _closed(node: Schema) -> Schema:
    if "$ref" in node:
        return {"$ref": node["$ref"]}
    if not node.keys() & _TYPED or node.keys() & _INEXPRESSIBLE:
        raise _OpenSchemaError
    closed = {key: value for key, value in node.items() if key in _KEPT}
    if closed.get("format") not in _FORMATS:
        closed.pop("format", None)
    if "$defs" in node:
        closed["$defs"] = {name: _closed(item) for name, item in node["$defs"].items()}
    if "anyOf" in node:
        closed["anyOf"] = [_closed(item) for item in node["anyOf"]]
    if node.get("type") == "array":
        closed["items"] = _closed(node.get("items", {}))
    if node.get("type") == "object":
        if node.get("additionalProperties") or "properties" not in node:
            raise _OpenSchemaError
        properties = {name: _closed(item) for name, item in node["properties"].items()}
        closed["properties"] = properties
        closed |= {"required": list(properties), "additionalProperties": False}
    return closed


# -- pydantic's schemas, which take a millisecond to make -----------------------------------------


def _key(name: str, field: FieldInfo) -> _Key:
    return name, field.annotation, tuple(field.metadata)


def _cached(
    known: Callable[[Any], Schema], make: Callable[[Any], Schema], key: _Key | tuple[_Key, ...]
) -> Schema:
    try:
        hash(key)
    except TypeError:
        return make(key)
    return known(key)


def _new_schema(key: _Key) -> Schema:
    adapter = _adapter(key)
    return cast("Schema", _without_titles(adapter.json_schema())) if adapter is not None else {}


def _new_object_schema(keys: tuple[_Key, ...]) -> Schema:
    known = {key[0]: adapter for key in keys if (adapter := _adapter(key))}
    # All at once, so that two classes of one name get two names.
    asked: Any = [(name, "validation", adapter) for name, adapter in known.items()]
    schemas, definitions = pydantic.TypeAdapter.json_schemas(asked)
    properties = {name: schemas.get((name, "validation"), {}) for name, *_ in keys}
    schema: Schema = {
        **definitions,
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }
    return cast("Schema", _without_titles(schema))


_schema = lru_cache(maxsize=256)(_new_schema)
_object_schema = lru_cache(maxsize=256)(_new_object_schema)


def _adapter(key: _Key) -> pydantic.TypeAdapter[Any] | None:
    _, annotation, limits = key
    limited: Any = Annotated[annotation, *limits] if limits else annotation
    try:
        adapter = pydantic.TypeAdapter[Any](limited)
        adapter.json_schema()
    except Exception:  # noqa: BLE001 - a user's type may do anything; it is only not described
        return None
    return adapter


_TEXT_CHARS = 120
_REASONING_CHARS = 150
_ITEMS = 8


def bounded(schema: Any, name: str = "") -> Any:
    """Bound the texts and lists of a schema, so that an answer must end.

    Args:
        schema: A JSON schema.
        name: The property that it describes; ``reasoning`` may be a little longer.
    """
    if isinstance(schema, list):
        return [bounded(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    limited = {key: bounded(item, key) for key, item in cast("Schema", schema).items()}
    kind = limited.get("type")
    if kind == "string" and not limited.keys() & {"enum", "const", "format", "pattern"}:
        chars = _REASONING_CHARS if name == "reasoning" else _TEXT_CHARS
        return {"minLength": 1, "maxLength": chars, **limited}
    if kind == "array":
        return {"maxItems": _ITEMS, **limited}
    return limited


def _without_titles(node: Any) -> Any:
    """Drop pydantic's titles: they repeat the names, and cost tokens."""
    if isinstance(node, list):
        return [_without_titles(item) for item in cast("list[Any]", node)]
    if not isinstance(node, dict):
        return node
    return {
        key: _without_titles(item)
        for key, item in cast("Schema", node).items()
        if not (key == "title" and isinstance(item, str))  # a property may be called title
    }
