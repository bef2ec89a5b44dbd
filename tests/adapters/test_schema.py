"""JSON schemas of answers: complete ones for prompts, closed ones for providers."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Annotated, Any, Literal, Union

import pydantic
import pytest

from nbtool.adapters.schema import output_schema, strict_schema
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.tools.calls import ToolCalls

pytestmark = pytest.mark.api("JSONAdapter")


class Colour(enum.Enum):
    RED = "red"


class City(pydantic.BaseModel):
    """A city."""

    name: str = pydantic.Field(min_length=1, description="as its people call it")
    founded: dt.date | None = None
    twins: list[City] = []


class Open(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="allow")
    x: int


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]


def of(annotation, **limits):
    return Signature({"q": InputField(), "x": (annotation, OutputField(**limits))})


CLOSED = {
    "text": (str, {"type": "string"}),
    "choice": (Literal["a", 1], {"enum": ["a", 1]}),
    "list": (list[int], {"type": "array", "items": {"type": "integer"}}),
    "set": (set[int], {"type": "array", "items": {"type": "integer"}}),
    "maybe": (int | None, {"anyOf": [{"type": "integer"}, {"type": "null"}]}),
    "moment": (dt.datetime, {"type": "string", "format": "date-time"}),
    "bytes": (bytes, {"type": "string"}),
}


@pytest.mark.parametrize(("annotation", "schema"), CLOSED.values(), ids=CLOSED)
def test_type_has_a_strict_schema(annotation, schema):
    assert strict_schema(of(annotation))["properties"]["x"] == schema


def test_limits_that_providers_know_are_kept():
    schema = strict_schema(of(int, ge=1, le=5))

    assert schema["properties"]["x"] == {"type": "integer", "minimum": 1, "maximum": 5}
    assert "minLength" not in strict_schema(of(str, min_length=2))["properties"]["x"]
    assert output_schema(of(str, min_length=2))["properties"]["x"]["minLength"] == 2


def test_models_are_closed_and_all_their_keys_required():
    schema = strict_schema(of(list[City]))
    city = schema["$defs"]["City"]

    assert (city["required"], city["additionalProperties"]) == (["name", "founded", "twins"], False)
    assert city["properties"]["name"] == {"type": "string", "description": "as its people call it"}
    assert city["properties"]["twins"] == {"type": "array", "items": {"$ref": "#/$defs/City"}}
    assert city["description"] == "A city."


OPEN = {
    "dict": dict[str, int],
    "bare dict": dict,
    "dict inside": list[dict[str, str]],
    "dict in a union": Union[int, dict[str, int]],  # noqa: UP007 - users write it so
    "anything": Any,
    "bare list": list,
    "tuple": tuple[int, str],
    "model that takes more": Open,
    "told apart by a key": Annotated[Cat | Dog, pydantic.Discriminator("kind")],
    "tool calls": ToolCalls,
}


@pytest.mark.parametrize("annotation", OPEN.values(), ids=OPEN)
def test_type_with_keys_that_nobody_knows_has_no_strict_schema(annotation):
    assert strict_schema(of(annotation)) is None
    assert "x" in output_schema(of(annotation))["properties"]


def test_two_classes_of_one_name_have_two_schemas():
    first = pydantic.create_model("Same", a=(int, ...))
    second = pydantic.create_model("Same", b=(str, ...))
    schema = output_schema(
        Signature({"q": InputField(), "x": (first, OutputField()), "y": (second, OutputField())})
    )

    assert schema["properties"]["x"] != schema["properties"]["y"]
    assert len(schema["$defs"]) == 2


def test_schema_that_was_changed_by_its_reader_is_made_anew_for_the_next():
    strict_schema(of(City))["properties"]["x"]["type"] = "changed"

    assert strict_schema(of(City))["properties"]["x"] == {"$ref": "#/$defs/City"}


def test_type_without_schema_may_be_anything():
    class Frame:
        pass

    assert output_schema(of(Frame))["properties"] == {"x": {}}
