"""Types of fields: from the text of a signature to the value of a prediction."""

from __future__ import annotations

import datetime as dt
import enum
from typing import Any, Literal, Optional

import pydantic
import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.errors import AdapterParseError
from nbtool.programs.predict import Predict
from nbtool.signatures.annotations import type_text
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import Type
from nbtool.testing.dummy import DummyLM

pytestmark = pytest.mark.api("Signature.types")


class Colour(enum.Enum):
    RED = "red"


class City(pydantic.BaseModel):
    name: str
    founded: dt.date | None = None


class Recipe(Type):
    """Be shown by its own words, and read from them."""

    steps: list[str]

    @classmethod
    def description(cls):
        return "steps with `;` between them"

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_text(cls, given):
        return {"steps": given.split(";")} if isinstance(given, str) else given

    def format(self):
        return ";".join(self.steps)


class Opaque(Type):
    x: int


CITY = City(name="Oslo", founded=dt.date(1048, 1, 1))
VALUES = [
    ("Literal['yes', 'no']", Literal["yes", "no"], "yes"),
    ("Colour", Colour, Colour.RED),
    ("City", City, CITY),
    ("list[City]", list[City], [CITY]),
    ("dict[str, list[int]]", dict[str, list[int]], {"a": [1, 2]}),
    ("tuple[int, str]", tuple[int, str], (1, "a")),
    ("set[int]", set[int], {1, 2}),
    ("Optional[int]", Optional[int], None),  # noqa: UP045 - users write it so
    ("int | None", int | None, 3),
    ("City | None", City | None, CITY),
    ("datetime", dt.datetime, dt.datetime(2026, 1, 2, 3, 4, tzinfo=dt.UTC)),
    ("date", dt.date, dt.date(2026, 1, 2)),
    ("bool", bool, True),
    ("float", float, 0.5),
    ("Any", Any, {"a": [1]}),
    ("Recipe", Recipe, Recipe(steps=["boil", "salt"])),
    ("list[Recipe]", list[Recipe], [Recipe(steps=["boil"])]),
]


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=repr)
@pytest.mark.parametrize(("text", "type_", "value"), VALUES, ids=[text for text, *_ in VALUES])
async def test_value_of_a_type_goes_all_the_way(adapter, text, type_, value):
    predict = Predict(f"given: {text} -> found: {text}")
    lm = DummyLM([{"found": value}], adapter=adapter)
    with context(lm=lm, adapter=adapter):
        prediction = await predict.acall(given=value)

    assert predict.signature.fields["found"].annotation == type_
    assert (prediction.found, type(prediction.found)) == (value, type(value))


@pytest.mark.parametrize(("text", "type_", "value"), VALUES, ids=[text for text, *_ in VALUES])
def test_text_dict_and_class_give_the_same_types(text, type_, value):
    by_text = Signature(f"given -> found: {text}")
    by_dict = Signature({"given": InputField(), "found": (type_, OutputField())})
    by_class = type(Signature)(
        "S", (Signature,), {"__annotations__": {"found": type_}, "given": InputField(),
                            "found": OutputField()})  # fmt: skip

    assert by_text.equals(by_dict)
    assert by_class.fields["found"].annotation == by_dict.fields["found"].annotation
    assert type_text(type_) in repr(by_text)


async def test_limits_of_a_field_are_enforced():
    signature = Signature({"q": InputField(), "stars": (int, OutputField(ge=1, le=5))})
    lm = DummyLM([{"stars": 5}, {"stars": 6}, {"stars": 7}])
    with context(lm=lm):
        assert (await Predict(signature).acall(q="?")).stars == 5
        with pytest.raises(AdapterParseError) as caught:
            await Predict(signature).acall(q="?")

    assert "less than or equal to 5" in str(caught.value.__cause__)


async def test_default_of_a_field_is_filled_in():
    signature = Signature({"q": InputField(default="why?"), "n": (int, OutputField(default=3)),
                           "a": OutputField()})  # fmt: skip
    lm = DummyLM([{"a": "x"}])
    prediction = await Predict(signature).acall(lm=lm)

    assert (prediction.n, prediction.a) == (3, "x")
    assert "why?" in lm.history[0]["messages"][-1]["content"]


@pytest.mark.api("Signature(str)")
def test_signature_without_inputs_can_be_asked():
    signature = Signature("-> poem")
    lm = DummyLM([{"poem": "Roses"}])

    assert Predict(signature)(lm=lm).poem == "Roses"
    assert signature.instructions == "Produce the fields `poem`."
    assert "What you are given" not in lm.history[0]["messages"][0]["content"]


# -- custom types ----------------------------------------------------------------------------------


def test_custom_type_says_what_it_is_and_shows_itself():
    signature = Signature("one: Recipe, more: dict[str, list[Recipe]] -> best: Recipe")
    inputs = {"one": Recipe(steps=["boil", "salt"])}
    system, user = ChatAdapter().format(signature, [], inputs)

    assert "`one` (Recipe): steps with `;` between them" in system["content"]
    assert "`more` (dict[str, list[Recipe]]): Recipe: steps with `;`" in system["content"]
    assert user["content"].startswith("[[ ## one ## ]]\nboil;salt\n")


def test_custom_types_inside_of_a_type_are_found():
    annotation = dict[str, list[Recipe] | Opaque | None]

    assert Type.extract_custom_type_from_annotation(annotation) == [Recipe, Opaque]
    assert Recipe.extract_custom_type_from_annotation(annotation) == [Recipe]
    assert Type.extract_custom_type_from_annotation(list[int]) == []


def test_custom_type_without_format_says_so_and_describes_nothing():
    with pytest.raises(NotImplementedError, match="Opaque must define format"):
        Opaque(x=1).format()

    assert Opaque.description() == ""


def test_custom_type_leaves_native_features_alone_unless_it_says_otherwise():
    signature = Signature("q -> best: Recipe")

    assert Recipe.adapt_to_native_lm_feature(signature, "best", None, {}) is signature
    assert Recipe.parse_lm_response("text") is None
