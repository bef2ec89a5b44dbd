import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pydantic
import pytest

from nbtool.tools.schemas import argument_schemas, resolved_function, schema_of


class Street(pydantic.BaseModel):
    name: str
    number: int = 1


class Person(pydantic.BaseModel):
    home: Street
    others: list[Street] = []


class Node(pydantic.BaseModel):
    value: int
    children: list["Node"] = []


class Unknown:
    pass


STREET = {
    "properties": {
        "name": {"title": "Name", "type": "string"},
        "number": {"default": 1, "title": "Number", "type": "integer"},
    },
    "required": ["name"],
    "title": "Street",
    "type": "object",
}


def contains(schema, key):
    if isinstance(schema, dict):
        return key in schema or any(contains(each, key) for each in schema.values())
    return isinstance(schema, list) and any(contains(each, key) for each in schema)


@pytest.mark.parametrize(
    ("annotation", "schema"),
    [
        (int, {"type": "integer"}),
        (Any, {}),
        (Literal["a", "b"], {"enum": ["a", "b"], "type": "string"}),
        (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
        (
            list[list[int]],
            {"type": "array", "items": {"type": "array", "items": {"type": "integer"}}},
        ),
        (dict[str, int], {"type": "object", "additionalProperties": {"type": "integer"}}),
        (Annotated[int, pydantic.Field(ge=1)], {"type": "integer", "minimum": 1}),
        (Street, STREET),
        (list[Street], {"type": "array", "items": STREET}),
        (Unknown, {}),
        (Callable[[], int], {}),
        (list["Missing"], {}),  # noqa: F821 - a name that cannot be resolved
    ],
    ids=str,
)
def test_a_type_has_its_json_schema(annotation, schema):
    assert schema_of(annotation) == schema


def test_references_are_replaced_by_what_they_name():
    schema = schema_of(Person)

    assert schema["properties"]["home"] == STREET
    assert schema["properties"]["others"]["items"] == STREET
    assert not contains(schema, "$ref")
    assert not contains(schema, "$defs")


def test_a_type_that_contains_itself_is_cut_after_one_level():
    schema = schema_of(Node)

    inside = schema["properties"]["children"]["items"]
    assert schema["properties"]["value"] == {"title": "Value", "type": "integer"}
    assert inside == {"type": "object"} or inside["properties"]["children"]["items"] == {
        "type": "object"
    }
    assert not contains(schema, "$ref")


def test_a_property_that_is_called_ref_or_defs_is_no_reference():
    class Odd(pydantic.BaseModel):
        ref: str = pydantic.Field(alias="$ref")
        home: Street

    schema = schema_of(Odd)

    assert schema["properties"]["$ref"] == {"title": "$Ref", "type": "string"}
    assert schema["properties"]["home"] == STREET


@dataclass
class Point:
    x: int
    y: int = 0


class Plain:
    def __init__(self, x: int):
        self.x = x


class Parsed(pydantic.BaseModel):
    x: int
    data: int = 0


class Adder:
    """Add."""

    def __call__(self, x: int) -> int:
        return x

    def method(self, x: int):
        return x

    @classmethod
    def of(cls, x: int):
        return x

    @staticmethod
    def fixed(x: int):
        return x


def typed(x: int, y: str = "", *rest: int, **more: int):
    return x


@functools.wraps(typed)
def wrapper(*args, **kwargs):
    return typed(*args, **kwargs)


@pytest.mark.parametrize(
    "func",
    [
        typed, wrapper, functools.partial(typed, y="b"), functools.partial(Adder().method),
        functools.partial(functools.partial(Adder())), Adder(), Adder().method, Adder.of,
        Adder.fixed, Point, Plain, Parsed,
    ],
    ids=[
        "function", "wrapped", "partial", "partial_of_method", "partial_of_object", "object",
        "method", "classmethod", "staticmethod", "dataclass", "class", "model",
    ],
)  # fmt: skip
def test_the_arguments_of_any_callable_have_their_types(func):
    schemas, types, _ = argument_schemas(func)

    assert schemas["x"] == {"type": "integer"}
    assert types["x"] is int
    assert "self" not in schemas
    assert "return" not in schemas


def test_a_field_called_data_of_a_model_has_its_type():
    assert argument_schemas(Parsed)[1]["data"] is int


def test_variadic_arguments_are_no_arguments_but_kwargs_are_told():
    schemas, _, has_kwargs = argument_schemas(typed)

    assert list(schemas) == ["x", "y"]
    assert has_kwargs
    assert not argument_schemas(Adder())[2]


def test_a_bound_positional_argument_of_a_partial_is_gone():
    assert list(argument_schemas(functools.partial(typed, 1))[0]) == ["y"]


def test_a_lambda_takes_anything():
    assert argument_schemas(lambda x, y=2: x) == (
        {"x": {}, "y": {"default": 2}},
        {"x": Any, "y": Any},
        False,
    )


@pytest.mark.parametrize(
    ("annotation", "default", "shown"),
    [
        (int, 3, {"default": 3}),
        (int, None, {"default": None}),
        (int, "many", {"default": "many"}),
        (Street, Street(name="A"), {"default": {"name": "A", "number": 1}}),
        (Any, {1, 2}, {"default": [1, 2]}),
        (Any, object(), {}),
        (Unknown, Unknown(), {}),
    ],
    ids=["fits", "none", "does_not_fit", "model", "set", "no_json_form", "no_schema"],
)
@pytest.mark.filterwarnings("default")
def test_a_default_is_shown_where_it_has_a_json_form(annotation, default, shown, recwarn):
    def func(x=default):
        return x

    func.__annotations__ = {"x": annotation}

    assert argument_schemas(func)[0]["x"] == {**schema_of(annotation), **shown}
    assert list(recwarn) == []


def test_one_hint_that_cannot_be_resolved_costs_only_that_hint():
    def func(x: "int", y: "Missing", z: list["Missing"]):  # noqa: F821 - on purpose
        return x

    assert argument_schemas(func)[0] == {"x": {"type": "integer"}, "y": {}, "z": {}}


def test_the_function_behind_a_callable_is_found():
    assert resolved_function(functools.partial(functools.partial(typed))) is typed
    assert resolved_function(Adder()) is Adder.__call__
    assert resolved_function(Plain) is Plain
