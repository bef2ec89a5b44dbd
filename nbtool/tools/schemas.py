"""What a function takes, as JSON schemas, read from its signature and docstring."""

from __future__ import annotations

import functools
import inspect
import itertools
import types
import typing
from typing import TYPE_CHECKING, Any, cast

import pydantic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Schema = dict[str, Any]

_MOST_NODES = 20_000  # of a schema with its references in place, which may double at each level
_TYPE_OF: dict[Any, Any] = {
    "string": str, "integer": int, "number": float, "boolean": bool, "array": list, "object": dict,
}  # fmt: skip


def resolved_function(func: Callable[..., Any]) -> Callable[..., Any]:
    """Return the function whose signature and hints describe a callable.

    Args:
        func: A function, method, partial, or object with ``__call__``.
    """
    target = func
    while isinstance(target, functools.partial):
        target = cast("Callable[..., Any]", target.func)
    if inspect.isroutine(target) or inspect.isclass(target):
        return target
    return type(target).__call__


def argument_schemas(
    func: Callable[..., Any],
) -> tuple[dict[str, Schema], dict[str, Any], bool]:
    """Read the arguments of a callable.

    Args:
        func: A function, method, partial, or object with ``__call__``.

    Returns:
        JSON schema by argument name (``$ref`` resolved, defaults included), type by argument
        name, and whether the callable takes any further named arguments (``**kwargs``).
    """
    parameters = inspect.signature(func).parameters
    described = resolved_function(func)
    hints = _hints(described)
    if inspect.isclass(described):
        hints = {**_hints(described.__init__), **hints}
    schemas: dict[str, Schema] = {}
    arg_types: dict[str, Any] = {}
    has_kwargs = False
    for name, parameter in parameters.items():
        if parameter.kind is parameter.VAR_KEYWORD:
            has_kwargs = True
            continue
        if parameter.kind is parameter.VAR_POSITIONAL:
            continue
        arg_types[name] = hints.get(name, Any)
        schemas[name] = schema_of(arg_types[name])
        if parameter.default is not parameter.empty:
            _add_default(schemas[name], arg_types[name], parameter.default)
    return schemas, arg_types, has_kwargs


def described_arguments(
    schema: Schema,
) -> tuple[dict[str, Schema], dict[str, Any], frozenset[str]]:
    """Read the arguments that a JSON schema describes.

    Args:
        schema: Schema of an object, from anywhere; its members are the arguments.

    Returns:
        JSON schema by argument name (``$ref`` resolved; the description says which are required),
        type by argument name, and the names of the ones that are required.
    """
    definitions = {**schema.get("definitions", {}), **schema.get("$defs", {})}
    required = frozenset(schema.get("required", ()))
    schemas: dict[str, Schema] = {}
    arg_types: dict[str, Any] = {}
    for name, given in schema.get("properties", {}).items():
        inlined = _inlined(given, definitions, (), itertools.count())
        known = cast("Schema", inlined) if isinstance(inlined, dict) else {}  # True allows all
        if name in required:
            known = {**known, "description": f"{known.get('description', '')} (Required)".strip()}
        kind = known.get("type")
        schemas[name] = known
        arg_types[name] = _TYPE_OF.get(kind, Any) if isinstance(kind, str) else Any
    return schemas, arg_types, required & schemas.keys()


def _hints(function: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError, AttributeError):
        # A hint that cannot be resolved here must not make the function unusable as a tool.
        return {
            name: hint
            for name, given in getattr(function, "__annotations__", {}).items()
            for hint in _resolved(function, given)
        }


def _resolved(function: Callable[..., Any], hint: Any) -> list[Any]:
    alone = types.SimpleNamespace(__annotations__={"hint": hint})
    names = getattr(inspect.unwrap(function), "__globals__", {})
    try:
        return [typing.get_type_hints(alone, names, include_extras=True)["hint"]]
    except (NameError, TypeError, AttributeError):
        return []


def _add_default(schema: Schema, annotation: Any, default: Any) -> None:
    try:
        adapter = pydantic.TypeAdapter[Any](annotation)
        schema["default"] = adapter.dump_python(default, mode="json", warnings=False)
    except Exception:  # noqa: BLE001 - a default without a JSON form is only left out of a hint
        return


def schema_of(annotation: Any) -> Schema:
    """Return the JSON schema of a type, ``$ref`` resolved; ``{}`` where it has none."""
    if annotation is Any or annotation is inspect.Parameter.empty:
        return {}
    try:
        schema = pydantic.TypeAdapter[Any](annotation).json_schema()
    except Exception:  # noqa: BLE001 - a user's type may do anything; a tool without schema works
        return {}
    definitions = schema.pop("$defs", {})
    return cast("Schema", _inlined(schema, definitions, (), itertools.count()))


def adapter_of(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    """Return what makes values of a type; None where values pass as they are.

    Args:
        annotation: The type of an argument.
    """
    if annotation is Any or annotation is inspect.Parameter.empty:
        return None
    try:
        hash(annotation)
    except TypeError:
        return _new_adapter(annotation)
    return _cached_adapter(annotation)


def _new_adapter(annotation: Any) -> pydantic.TypeAdapter[Any] | None:
    try:
        return pydantic.TypeAdapter(annotation)
    except Exception:  # noqa: BLE001 - as in `schema_of`
        return None


_cached_adapter = functools.lru_cache(maxsize=256)(_new_adapter)


def fault_of(value: Any, schema: Schema) -> str | None:
    """Say why a value does not fit a JSON schema.

    Args:
        value: JSON-like values, or models of pydantic.
        schema: A schema from anywhere: one that is broken lets every value pass, and what it
            refers to is not fetched.

    Returns:
        None where it fits.
    """
    import jsonschema
    import referencing

    plain = value.model_dump(mode="json") if isinstance(value, pydantic.BaseModel) else value
    checking: Any = jsonschema  # its types are half unknown
    nowhere: Any = referencing.Registry  # else `$ref` would be fetched from the network
    validator = checking.Draft202012Validator(schema, registry=nowhere())
    try:
        fault = checking.exceptions.best_match(validator.iter_errors(plain))
    except Exception:  # noqa: BLE001 - what a broken schema leads to is not the value's fault
        return None
    return None if fault is None else str(fault.message)


def _inlined(node: Any, definitions: Schema, inside: tuple[str, ...], nodes: Iterator[int]) -> Any:
    """Replace references by what they name; a type that contains itself is cut at one level."""
    if isinstance(node, list):
        items = cast("list[Any]", node)
        return [_inlined(item, definitions, inside, nodes) for item in items]
    if not isinstance(node, dict):
        return node
    if next(nodes) > _MOST_NODES:
        return {}
    schema = cast("Schema", node)
    reference = schema.get("$ref")
    if isinstance(reference, str):
        name = reference.rsplit("/", 1)[-1]
        if name in inside:
            return {"type": "object"}
        named = definitions.get(name, {})
        about = {key: schema[key] for key in ("description", "default") if key in schema}
        found = _inlined(named, definitions, (*inside, name), nodes)
        return {**cast("Schema", found), **about} if isinstance(found, dict) else found
    return {key: _inlined(item, definitions, inside, nodes) for key, item in schema.items()}
