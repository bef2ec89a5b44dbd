"""JSON schemas of answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, cast

import pydantic

if TYPE_CHECKING:
    from nbtool.signatures.signature import Signature

Schema = dict[str, Any]


def output_schema(signature: type[Signature]) -> Schema:
    """Return the JSON schema of an object that has all output fields of a signature.

    Args:
        signature: Names the fields, their types and limits.

    Returns:
        An object schema: properties in the signature's order, all required, no others.
    """
    fields: dict[str, Any] = {}
    for name, field in signature.output_fields.items():
        annotation: Any = field.annotation
        for limit in field.metadata:
            annotation = Annotated[annotation, limit]
        fields[name] = (annotation, ...)
    closed = pydantic.ConfigDict(extra="forbid")
    answer = pydantic.create_model("Answer", __config__=closed, **fields)
    return _without_titles(answer.model_json_schema())


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
