"""Values as text in prompts, and text of answers as values."""

from __future__ import annotations

import dataclasses
import datetime as dt
import enum
import json
import uuid
from typing import Literal
from unittest.mock import MagicMock

import pydantic
import pytest

from nbtool.adapters.values import as_text
from nbtool.programs.example import Example
from nbtool.programs.prediction import Prediction
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
