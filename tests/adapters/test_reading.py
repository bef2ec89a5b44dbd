"""Values out of what a model wrote, beyond the common cases of `test_values`."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import enum
import uuid
from typing import Annotated, Any, Literal, NamedTuple, Optional, Union

import pydantic
import pytest

from nbtool.adapters.reading import allows_none, check_readable, parse, parse_json
from nbtool.errors import SignatureError
from nbtool.signatures.annotations import type_text
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import Type

pytestmark = pytest.mark.api("Signature.types")


class Colour(enum.Enum):
    RED = "red"
    ONE = 1


class Level(enum.IntEnum):
    LOW = 1


class Word(enum.StrEnum):
    YES = "yes"


class City(pydantic.BaseModel):
    name: str
    founded: dt.date | None = None


@dataclasses.dataclass
class Point:
    x: int


@dataclasses.dataclass
class Spot:
    x: int
    y: float


class Pair(NamedTuple):
    a: int
    b: str


class Recipe(Type):
    steps: list[str]

    @pydantic.model_validator(mode="before")
    @classmethod
    def _from_text(cls, given):
        return {"steps": given.split(";")} if isinstance(given, str) else given

    def format(self):
        return ";".join(self.steps)


class Broken(Type):
    @pydantic.model_validator(mode="before")
    @classmethod
    def _fail(cls, given):
        raise TypeError("a mistake in the type")


READ = [
    ('"5"', int, 5),
    ("`5`", int, 5),
    ("**5**", float, 5.0),
    ("True.", bool, True),
    ("1", bool, True),
    ("on", bool, True),
    ("1_000", int, 1000),
    ("Literal['a']", Literal["a", "b"], "a"),
    ("str[b]", Literal["a", "b"], "b"),
    ("A.", Literal["a", "b"], "a"),
    ("2", Literal[1, 2], 2),
    ("null", Literal["a", None], None),  # noqa: PYI061 - users write it so
    ("None", Literal["None", None], "None"),  # noqa: PYI061 - as above
    ("'a'", Optional[Literal["a"]], "a"),  # noqa: UP045 - users write it so
    ("Colour.RED", Colour, Colour.RED),
    ("Red", Colour, Colour.RED),
    ('"red"', Colour | None, Colour.RED),
    ("1", Level, Level.LOW),
    ("yes", Word, Word.YES),
    ("None", Colour | None, None),
    ("", int | None, None),
    ("5", int | str, 5),
    ("five", int | str, "five"),
    ("true", int | str, "true"),
    ("[1]", list[int] | str, [1]),
    ("[1]", int | list[int], [1]),
    ('{"name": "Oslo"}', Union[City, str], City(name="Oslo")),  # noqa: UP007 - users write it so
    ('"5"', int | str, '"5"'),
    ("5", Any, 5),
    ("[1, 2]", Any, [1, 2]),
    ("text", Any, "text"),
    ("NaN", Any, "NaN"),
    ("('a', 'b')", tuple[str, str], ("a", "b")),
    ("(1, 2)", list[int], [1, 2]),
    ("{'a'}", set[str], {"a"}),
    ("[]", list[str], []),
    ("{}", dict[str, Any], {}),
    ("{'a': None, 'b': True}", dict[str, Any], {"a": None, "b": True}),
    ('{"1": "a"}', dict[int, str], {1: "a"}),
    ('[1, "b"]', Pair, Pair(1, "b")),
    ('{"x": 1}', Point, Point(1)),
    ('{"name": "Oslo"}', City | None, City(name="Oslo")),
    ("null", City | None, None),
    ("boil;salt", Recipe, Recipe(steps=["boil", "salt"])),
    ('{"steps": ["boil"]}', Recipe, Recipe(steps=["boil"])),
    ('"2024-01-02"', dt.date, dt.date(2024, 1, 2)),
    ("PT1H", dt.timedelta, dt.timedelta(hours=1)),
    ("1.10", decimal.Decimal, decimal.Decimal("1.10")),
    ("00000000-0000-0000-0000-000000000001", uuid.UUID, uuid.UUID(int=1)),
    ("5", pydantic.PositiveInt, 5),
    ("inf", float, float("inf")),
    ("42", int, 42),
    (" 42 ", int, 42),
    ("4.5", float, 4.5),
    ("True", bool, True),
    ("no", bool, False),
    ("[1, 2]", list[int], [1, 2]),
    ("[1, 2", list[int], [1, 2]),
    ("```json\n[1, 2]\n```", list[int], [1, 2]),
    ("[1, 1]", set[int], {1}),
    ('[1, "a"]', tuple[int, str], (1, "a")),
    ('{"a": 1}', dict[str, int], {"a": 1}),
    ("{'a': 1,}", dict, {"a": 1}),
    ("a", Literal["a", "b"], "a"),
    ('"B"', Literal["a", "b"], "b"),
    ("red", Colour, Colour.RED),
    ("RED", Colour, Colour.RED),
    ("1", Colour, Colour.ONE),
    ('["red"]', list[Colour], [Colour.RED]),
    ("5", Optional[int], 5),  # noqa: UP045 - users write it so
    ("None", Optional[int], None),  # noqa: UP045 - users write it so
    ("null", str | None, None),
    ("text", str | None, "text"),
    ("2024-01-02", dt.date | None, dt.date(2024, 1, 2)),
    ("a", Literal["a"] | None, "a"),
    ("2024-01-02T03:04:05", dt.datetime, dt.datetime(2024, 1, 2, 3, 4, 5)),  # noqa: DTZ001 - no zone was written
    ("2024-01-02", dt.date, dt.date(2024, 1, 2)),
    ('{"name": "Oslo"}', City, City(name="Oslo")),
    ('{name: "Oslo"', City, City(name="Oslo")),
    ('Sure: {"name": "Oslo"}. Good?', City, City(name="Oslo")),
    ('{"x": 1, "y": 2}', Spot, Spot(1, 2.0)),
    ("any text", Any, "any text"),
    ("  kept  ", str, "  kept  "),
    ("null", str, "null"),
    ("", str, ""),
    (3, str, "3"),
    (["a"], str, '["a"]'),
    ("3", int | str, 3),
    ([1, 2], list[int], [1, 2]),
    ({"name": "Oslo"}, City, City(name="Oslo")),
    (None, int | None, None),
    ("red", Colour | None, Colour.RED),
]


@pytest.mark.parametrize(
    ("text", "type_", "value"), READ, ids=[f"{text!r} as {type_text(t)}" for text, t, _ in READ]
)
def test_text_is_read_so(text, type_, value):
    read = parse(text, type_)

    assert read == value
    assert type(read) is type(value)


JSON = [
    ("3", int | str, "3"),
    ("null", str | None, "null"),
    ("5", Any, "5"),
    (None, int | None, None),
    (True, bool, True),
    ("3", int, 3),
    ('["a"]', list[str], ["a"]),
    (5, Literal["5"], "5"),
    (True, Literal[1], 1),
    ([1], str, "[1]"),
    ({"name": "Oslo"}, City | str, City(name="Oslo")),
    ("RED", Colour, Colour.RED),
]


@pytest.mark.parametrize(
    ("given", "type_", "value"), JSON, ids=[f"{g!r} as {type_text(t)}" for g, t, _ in JSON]
)
def test_json_is_read_so(given, type_, value):
    read = parse_json(given, type_)

    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("text", "type_"),
    [
        ("5 apples", int),
        ("4.5", int),
        ("", bool),
        ("a", list[str]),
        ("- a\n- b", list[str]),
        ('{"a": "b"}', list[str]),
        ("N/A", int | None),
        ("yellow", Colour),
        ("[" * 5000, list[Any]),
        ("9" * 10_000, int),
        ("many", int),
        ("", int),
        ("maybe", bool),
        ("one, two", list[str]),
        ("c", Literal["a", "b"]),
        ("blue", Colour),
        ("{}", City),
        ("yesterday", dt.date),
        ("None", int),
        (None, int),
        ("Oslo", City),
    ],
    ids=["units", "fraction", "nothing", "word", "bullets", "object", "n/a", "choice",
         "deep", "endless", "many", "no number", "perhaps", "words", "other letter",
         "other colour", "no city", "no date", "none", "null", "bare city"],
)  # fmt: skip
def test_what_is_no_such_value_is_a_value_error(text, type_):
    with pytest.raises(ValueError, match=r".+"):
        parse(text, type_)


def test_limits_are_enforced():
    limits = tuple(OutputField(ge=1, le=5).metadata)

    assert parse("5", int, limits) == 5
    with pytest.raises(ValueError, match="less than or equal to 5"):
        parse("6", int, limits)
    with pytest.raises(ValueError, match="at most 2"):
        parse("abc", str, tuple(OutputField(max_length=2).metadata))


def test_type_error_of_a_users_type_is_raised_as_it_is():
    with pytest.raises(TypeError, match="a mistake in the type"):
        parse("{}", Broken)


def test_unions_that_differ_in_their_order_are_read_by_their_own():
    assert type(parse("5", Union[int, float])) is int  # noqa: UP007 - as a union of typing
    assert parse("2024-01-02", Union[dt.date, dt.datetime]) == dt.date(2024, 1, 2)  # noqa: UP007


def test_type_that_pydantic_does_not_know_is_refused():
    class Frame:
        pass

    signature = Signature({"a": InputField(), "frame": (Frame, OutputField())})
    with pytest.raises(SignatureError, match=r"No answer can be read as Frame") as caught:
        check_readable(signature)

    assert "BaseModel" in caught.value.hint


@pytest.mark.parametrize(
    ("type_", "is_allowed"),
    [
        (None, True),
        (int | None, True),
        (Annotated[int | None, 3], True),
        (Literal["a", None], True),  # noqa: PYI061 - users write it so
        (int, False),
        (list[None], False),
        (Any, False),
    ],
    ids=["None", "union", "annotated", "literal", "int", "list", "Any"],
)
def test_none_is_allowed_where_the_type_says_so(type_, is_allowed):
    assert allows_none(type_) is is_allowed
