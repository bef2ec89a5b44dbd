"""What looks wrong about the inputs of a call, and the defaults that fill them up."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Protocol

import pydantic
import pytest

from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature, validate_inputs, with_defaults

TYPES = pytest.mark.api("Signature.types")


class Rate(Signature):
    """Rate the text."""

    stars: int = OutputField()
    text: str = InputField()
    context = InputField(default="none")


class Point(pydantic.BaseModel):
    x: int


class Opaque:
    pass


class Named(Protocol):
    name: str


def fail(value):
    raise RuntimeError(value)


@TYPES
@pytest.mark.parametrize(
    ("type_", "value"),
    [
        (int, 3),
        (int, "3"),
        (float, 1),
        (str, None),
        (list[int], (1, 2)),
        (list[str], iter([1])),
        (Point, {"x": 1}),
        (list[Point], [{"x": 1}, Point(x=2)]),
        (Literal["a", "b"], "a"),
        (int | None, None),
        (Opaque, Opaque()),
        (list[Opaque], [Opaque()]),
        (Any, object()),
        (Annotated[int, pydantic.Field(ge=2)], 2),
        (Annotated[int, ["no hash"]], 2),
        (Named, 5),
    ],
)
def test_a_value_that_fits_gives_no_warning(type_, value):
    assert validate_inputs(Signature({"a": (type_, InputField())}), {"a": value}) == []


@TYPES
@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (int, "three", "int"),
        (str, 5, "str"),
        (list[int], ["x"], "list[int]"),
        (Literal["a"], "b", "Literal['a']"),
        (list[Opaque], [3], "list[Opaque]"),
        (Annotated[int, pydantic.Field(ge=2)], 1, "int"),
        (Annotated[int, pydantic.AfterValidator(fail)], 1, "int"),
    ],
)
def test_a_value_of_another_type_is_named_with_both(type_, value, expected):
    signature = Signature({"a": (type_, InputField())})

    (warning,) = validate_inputs(signature, {"a": value})

    assert warning == (
        f"Type mismatch for field 'a': expected {expected} based on given Signature, "
        f"but the provided value is incompatible: {value!r}."
    )


def test_a_field_without_type_takes_any_value():
    assert validate_inputs(Signature("a -> b"), {"a": 5}) == []
    assert len(validate_inputs(Signature("a: str -> b"), {"a": 5})) == 1


def test_looking_at_an_iterator_does_not_use_it_up():
    rows = iter(["x", "y"])

    validate_inputs(Signature("a: list[str] -> b"), {"a": rows})

    assert list(rows) == ["x", "y"]


def test_names_that_are_extra_or_missing_are_listed():
    extra, missing = validate_inputs(Signature("a, b -> c"), {"a": "x", "c": 1})

    assert extra == (
        "Input contains fields not in signature. These fields will be ignored: ['c']. "
        "Expected fields: ['a', 'b']."
    )
    assert missing == (
        "Not all input fields were provided to module. Present: ['a']. Missing: ['b']."
    )


def test_a_field_with_a_default_is_not_missing():
    assert validate_inputs(Rate, {"text": "x"}) == []


def test_a_long_value_is_cut_in_the_warning():
    (warning,) = validate_inputs(Signature("a: int -> b"), {"a": "x" * 10_000})

    assert len(warning) < 400


def test_defaults_are_filled_in_and_the_inputs_left_alone():
    signature = Signature({"a": InputField(default=1), "b": InputField(default_factory=list)})
    given_inputs = {"a": 2}

    filled = with_defaults(signature, given_inputs)
    filled["b"].append(1)

    assert filled == {"a": 2, "b": [1]}
    assert given_inputs == {"a": 2}
    assert with_defaults(signature, {}) == {"a": 1, "b": []}
