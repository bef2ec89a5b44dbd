import warnings
from typing import Annotated

import pytest
from pydantic import Field, TypeAdapter, ValidationError, create_model
from pydantic.fields import FieldInfo

from nbtool.signatures.fields import (
    InputField,
    OutputField,
    bound,
    extras_of,
    infer_prefix,
    is_untyped,
    role_of,
)

pytestmark = pytest.mark.api("InputField/OutputField")


@pytest.mark.parametrize(
    ("make", "role"), [(InputField, "input"), (OutputField, "output")], ids=["input", "output"]
)
def test_each_maker_marks_its_side_with_the_key_that_dspy_uses(make, role):
    field = make(desc="the thing")

    assert isinstance(field, FieldInfo)
    assert field.json_schema_extra == {"__dspy_field_type": role, "desc": "the thing"}
    assert role_of(field) == role


def test_a_field_of_pydantic_stands_on_no_side():
    assert role_of(Field()) is None
    assert role_of(Field(json_schema_extra=lambda schema: schema.clear())) is None


def test_description_serves_as_desc_and_desc_wins():
    assert extras_of(InputField(description="a"))["desc"] == "a"
    assert extras_of(InputField(description="a", desc="b"))["desc"] == "b"


def test_own_extras_of_the_user_are_kept():
    field = InputField(json_schema_extra={"unit": "km"}, desc="distance")

    assert extras_of(field)["unit"] == "km"
    assert extras_of(field)["desc"] == "distance"


@pytest.mark.parametrize(
    ("keyword", "limit", "text"),
    [
        ("gt", 0, "greater than 0"),
        ("ge", 1, "at least 1"),
        ("lt", 5, "less than 5"),
        ("le", 4.5, "at most 4.5"),
        ("min_length", 2, "length at least 2"),
        ("max_length", 9, "length at most 9"),
        ("multiple_of", 3, "a multiple of 3"),
    ],
)
def test_a_constraint_is_put_into_words(keyword, limit, text):
    assert extras_of(OutputField(**{keyword: limit}))["constraints"] == text


def test_constraints_stay_effective_for_pydantic():
    field = bound(OutputField(ge=1, le=5), "stars", int)
    adapter = TypeAdapter(Annotated[field.annotation, *field.metadata])

    assert extras_of(field)["constraints"] == "at least 1, at most 5"
    assert adapter.validate_python(5) == 5
    with pytest.raises(ValidationError):
        adapter.validate_python(6)


def test_constraints_of_an_annotation_are_put_into_words_too():
    field = bound(OutputField(le=5), "stars", Annotated[int, Field(ge=1)])

    assert field.annotation is int
    assert "at least 1" in extras_of(field)["constraints"]
    assert "at most 5" in extras_of(field)["constraints"]


@pytest.mark.parametrize("keyword", ["prefix", "format", "parser"])
def test_a_deprecated_keyword_warns_at_the_callers_line_and_is_kept(keyword):
    with pytest.warns(DeprecationWarning, match=f"`{keyword}` of InputField") as caught:
        field = InputField(**{keyword: "Q:"})

    assert extras_of(field)[keyword] == "Q:"
    assert caught[0].filename == __file__


def test_a_misspelt_keyword_warns_with_the_right_one():
    with pytest.warns(UserWarning, match="OutputField has no `decs`: did you mean `desc`"):
        OutputField(decs="the thing")


def test_ordinary_keywords_of_pydantic_do_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        field = InputField(default=3, title="K", examples=[1, 2])

    assert field.default == 3


def test_a_bound_field_has_type_prefix_and_description():
    field = bound(InputField(), "userQuestion", int)

    assert field.annotation is int
    assert extras_of(field)["prefix"] == "User Question:"
    assert extras_of(field)["desc"] == "${userQuestion}"
    assert not is_untyped(field)


def test_a_bound_field_can_be_a_field_of_a_model():
    field = bound(OutputField(ge=1), "stars", int)
    model = create_model("Answer", stars=(field.annotation, field))

    assert model(stars="3").stars == 3
    with pytest.raises(ValidationError):
        model(stars=0)


def test_a_field_without_type_is_an_untyped_string_until_it_gets_one():
    untyped = bound(InputField(), "x")
    typed = bound(untyped, "x", str)

    assert untyped.annotation is str
    assert is_untyped(untyped)
    assert is_untyped(bound(untyped, "x"))
    assert not is_untyped(typed)


def test_binding_leaves_the_declared_field_as_it_was():
    declared = InputField(ge=1, desc="a number")
    before = repr(declared)

    bound(declared, "n", Annotated[int, Field(le=3)], desc="another")

    assert repr(declared) == before


@pytest.mark.api("Signature.state")
@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("question", "Question"),
        ("snake_case_text", "Snake Case Text"),
        ("camelCaseText", "Camel Case Text"),
        ("text2number", "Text 2 Number"),
        ("HTMLAddress", "HTML Address"),
        ("someHTTPRequest2go", "Some HTTP Request 2 Go"),
        ("T5model", "T 5 Model"),
        ("URL_of", "URL Of"),
        ("a", "A"),
        ("über_ich", "Über Ich"),
    ],
)
def test_a_name_becomes_a_title(name, title):
    assert infer_prefix(name) == title
