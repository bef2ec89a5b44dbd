"""Random signatures and values: what an adapter shows as an answer, it reads back."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import json
import math
import uuid
from typing import Any, Literal

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.schema import strict_schema
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.xml import XMLAdapter
from nbtool.errors import AdapterParseError
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.tools.calls import ToolCalls

pytestmark = [pytest.mark.api(f"{name}Adapter") for name in ("Chat", "JSON", "XML")]

ADAPTERS = [ChatAdapter(), JSONAdapter(), XMLAdapter(), CompactAdapter()]


class Colour(enum.Enum):
    RED = "red"
    GREEN = "Green."
    ONE = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class City(pydantic.BaseModel):
    name: str
    founded: dt.date | None = None


class Trip(pydantic.BaseModel):
    cities: list[City]
    notes: dict[str, str] = {}


@dataclasses.dataclass
class Point:
    x: int
    y: float


# Texts as they survive below a marker: without white space round them. Half characters do not.
characters = st.characters(exclude_categories=["Cs"])
pieces = st.one_of(
    st.text(characters, max_size=8),
    st.sampled_from(
        [
            "\n",
            "[[ ## answer ## ]]",
            "</answer>",
            "<f>",
            "&lt;",
            "<![CDATA[",
            "]]>",
            "\n[[ ## completed ## ]]\n",
            "\\",
            "{",
            '"',
            "```",
            "null",
            "<<",
        ]
    ),
)
texts = st.lists(pieces, max_size=6).map(lambda found: "".join(found).strip())
finite = st.floats(allow_nan=False, allow_infinity=False)
dates = st.dates(min_value=dt.date(1, 1, 1))
moments = st.datetimes(min_value=dt.datetime(1, 1, 1))  # noqa: DTZ001 - with and without a zone
cities = st.builds(City, name=texts, founded=st.none() | dates)

VALUES: dict[str, tuple[Any, st.SearchStrategy[Any]]] = {
    "text": (str, texts),
    "number": (int, st.integers()),
    "share": (float, finite),
    "yes": (bool, st.booleans()),
    "maybe": (int | None, st.none() | st.integers()),
    "date": (dt.date, dates),
    "moment": (dt.datetime, moments),
    "hour": (dt.time, st.times()),
    "span": (dt.timedelta, st.timedeltas(min_value=dt.timedelta(0), max_value=dt.timedelta(999))),
    "price": (decimal.Decimal, st.decimals(-1000, 1000, places=2)),
    "id": (uuid.UUID, st.uuids()),
    "choice": (Literal["a", "A", "b c", 1, "None"], st.sampled_from(["a", "A", "b c", 1, "None"])),
    "colour": (Colour, st.sampled_from(list(Colour))),
    "level": (Level | None, st.none() | st.sampled_from(list(Level))),
    "texts": (list[str], st.lists(texts, max_size=3)),
    "colours": (list[Colour], st.lists(st.sampled_from(list(Colour)), max_size=3)),
    "grid": (list[list[int]], st.lists(st.lists(st.integers(), max_size=2), max_size=2)),
    "pair": (tuple[int, str], st.tuples(st.integers(), texts)),
    "set": (set[str], st.sets(texts, max_size=3)),
    "table": (dict[str, list[float]], st.dictionaries(texts, st.lists(finite, max_size=2))),
    "days": (dict[dt.date, int], st.dictionaries(dates, st.integers(), max_size=2)),
    "model": (City, cities),
    "models": (Trip, st.builds(Trip, cities=st.lists(cities, max_size=2))),
    "point": (Point, st.builds(Point, x=st.integers(), y=finite)),
    "json": (dict[str, Any], st.dictionaries(texts, st.none() | st.booleans() | texts, max_size=3)),
}  # fmt: skip
names = st.from_regex(r"[a-zäé][a-z0-9_]{0,6}", fullmatch=True).map("f{}".format)
kinds = st.sampled_from(sorted(VALUES))


@st.composite
def answers(draw):
    """Draw a signature and a value for each of its output fields."""
    fields = draw(st.dictionaries(names, kinds, min_size=1, max_size=4))
    typed = {name: (VALUES[kind][0], OutputField()) for name, kind in fields.items()}
    signature = Signature({"question": InputField(), **typed})
    return signature, {name: draw(VALUES[kind][1]) for name, kind in fields.items()}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@given(answer=answers(), question=texts)
def test_answer_that_was_shown_is_read_back(adapter, answer, question):
    signature, outputs = answer
    sent = adapter.format(signature, [{"question": question, **outputs}], {"question": question})
    shown = next(turn["content"] for turn in sent if turn["role"] == "assistant")

    assert adapter.parse(signature, shown) == outputs


@pytest.mark.parametrize("adapter", ADAPTERS[:3], ids=repr)
@given(answer=answers())
def test_answer_that_came_by_json_alone_is_read_back(adapter, answer):
    signature, outputs = answer
    shown = adapter.format_assistant_message_content(signature, outputs)
    found = {n: type(value) for n, value in adapter.parse(signature, f"Sure!\n{shown}").items()}

    assert found == {name: type(value) for name, value in outputs.items()}


@pytest.mark.parametrize("kind", sorted(VALUES))
@given(data=st.data())
def test_value_of_each_type_is_read_back(kind, data):
    signature = Signature({"q": InputField(), "f": (VALUES[kind][0], OutputField())})
    value = data.draw(VALUES[kind][1])
    shown = [a.format_assistant_message_content(signature, {"f": value}) for a in ADAPTERS]
    read = [a.parse(signature, s)["f"] for a, s in zip(ADAPTERS, shown, strict=True)]

    assert read == [value] * len(ADAPTERS)
    assert {type(each) for each in read} == {type(value)}


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@given(calls=st.lists(st.tuples(texts.filter(bool), st.dictionaries(texts, texts)), max_size=3))
def test_tool_calls_are_read_back(adapter, calls):
    signature = Signature("q -> calls: ToolCalls")
    value = ToolCalls.from_dict_list([{"name": name, "args": args} for name, args in calls])
    shown = adapter.format_assistant_message_content(signature, {"calls": value})

    assert adapter.parse(signature, shown) == {"calls": value}


@pytest.mark.parametrize("adapter", [ChatAdapter(), XMLAdapter()], ids=repr)
@given(inputs=st.dictionaries(names, texts, min_size=1, max_size=3), answer=texts)
def test_no_input_can_pass_for_an_answer(adapter, inputs, answer):
    signature = Signature({**dict.fromkeys(inputs, InputField()), "answer": OutputField()})
    question = adapter.format_user_message_content(signature, inputs)
    shown = adapter.format_assistant_message_content(signature, {"answer": answer})

    # Also not where a model repeats the question before it answers.
    assert adapter.parse(signature, f"{question}\n\n{shown}") == {"answer": answer}


FORMS = {
    "bare": "{}",
    "below a marker": "[[ ## {name} ## ]]\n{}",
    "in braces": "{{{}}}",
    "between tags": "<{name}>{}</{name}>",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
@given(text=st.text(max_size=60), answer=answers())
def test_any_answer_is_fields_or_a_parse_error(adapter, form, text, answer):
    signature, outputs = answer
    with contextlib.suppress(AdapterParseError):
        found = adapter.parse(signature, form.format(text, name=next(iter(outputs))))

        assert list(found) == list(outputs)


@given(answer=answers())
def test_strict_schema_is_closed_all_the_way(answer):
    schema = strict_schema(answer[0])
    objects = [node for node in walked(schema) if node.get("type") == "object"]

    assert all(node["additionalProperties"] is False for node in objects)
    assert all(node["required"] == list(node["properties"]) for node in objects)
    json.dumps(schema)


def walked(node):
    if isinstance(node, dict):
        yield node
    inside = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    yield from (found for item in inside for found in walked(item))


@pytest.mark.parametrize("number", [math.inf, -math.inf, math.nan], ids=str)
@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_numbers_that_are_none_are_read_back(adapter, number):
    signature = Signature("q -> x: float, xs: list[float]")
    shown = adapter.format_assistant_message_content(signature, {"x": number, "xs": [number]})

    assert repr(adapter.parse(signature, shown)) == repr({"x": number, "xs": [number]})
