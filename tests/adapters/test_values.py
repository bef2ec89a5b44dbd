"""Values as text in prompts, and text of answers as values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import uuid
from typing import Any, Literal, Optional
from unittest.mock import MagicMock

import pydantic
import pytest

from nbtool.adapters.reading import parse
from nbtool.adapters.values import as_text
from nbtool.programs.example import Example
from nbtool.programs.prediction import Prediction
from nbtool.signatures.annotations import type_text
from nbtool.signatures.types import History, Type


class Colour(enum.Enum):
    RED = "red"
    ONE = 1


class City(pydantic.BaseModel):
    name: str
    founded: dt.date | None = None


@dataclasses.dataclass
class Point:
    x: int
    y: float


class Shouted(Type):
    text: str

    def format(self):
        return self.text.upper()


WRITTEN = [
    ("as it is\n{x} [[", "as it is\n{x} [["),
    ("", ""),
    (None, "null"),
    (True, "true"),
    (3, "3"),
    (1.5, "1.5"),
    ([1, "zwölf"], '[1, "zwölf"]'),
    ((1, 2), "[1, 2]"),
    ({1: {"a": None}}, '{"1": {"a": null}}'),
    (dt.datetime(2024, 1, 2, 3, 4, tzinfo=dt.UTC), "2024-01-02T03:04:00Z"),
    (dt.date(2024, 1, 2), "2024-01-02"),
    (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
    (Colour.RED, "red"),
    (Colour.ONE, "1"),
    (Literal["a"], "typing.Literal['a']"),
    (City(name="Oslo", founded=dt.date(1048, 1, 1)), '{"name": "Oslo", "founded": "1048-01-01"}'),
    ([City(name="Oslo")], '[{"name": "Oslo", "founded": null}]'),
    (Point(1, 2.0), '{"x": 1, "y": 2.0}'),
    (Prediction(answer="Paris", score=1), '{"answer": "Paris", "score": 1}'),
    (Example(at=dt.date(2024, 1, 2)), '{"at": "2024-01-02"}'),
    ({"inner": Prediction(a=[Prediction(b=1)])}, '{"inner": {"a": [{"b": 1}]}}'),
    (History(messages=[{"question": "Q"}]), '{"messages": [{"question": "Q"}]}'),
    (Shouted(text="hey"), "HEY"),
    (complex(1, 2), "1+2j"),
]


@pytest.mark.parametrize(("value", "text"), WRITTEN, ids=lambda value: repr(value)[:30])
def test_value_is_written_so(value, text):
    assert as_text(value) == text


@pytest.mark.parametrize(
    "value",
    [object(), b"\xff\xfe", (n for n in "ab"), ValueError("x"), MagicMock(), Prediction, float],
    ids=["object", "bytes", "generator", "exception", "mock", "class", "builtin class"],
)
def test_any_object_can_be_written(value):
    assert as_text(value)
    json.dumps(as_text([value]))


READ = [
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
    ("2", Literal[1, 2], 2),
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
    ('{"x": 1, "y": 2}', Point, Point(1, 2.0)),
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


@pytest.mark.parametrize(
    ("text", "type_"),
    [
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
    ids=str,
)
def test_what_is_no_such_value_is_a_value_error(text, type_):
    with pytest.raises(ValueError, match=r".+"):
        parse(text, type_)
