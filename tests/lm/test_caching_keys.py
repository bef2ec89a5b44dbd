"""Keys and entries: what is the same request, and what comes back of a value."""

from __future__ import annotations

import math
import threading
from types import SimpleNamespace

import pydantic
import pytest

from nbtool.lm.caching.entries import Live, Response, Written, entry_of, written
from nbtool.lm.caching.keys import key_of

pytestmark = pytest.mark.api("LM.cache")


class City(pydantic.BaseModel):
    name: str


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": 1, "b": 2}, {"b": 2, "a": 1}, id="order"),
        pytest.param({"a": {"x": 1, "y": 2}}, {"a": {"y": 2, "x": 1}}, id="order inside"),
        pytest.param({"temperature": 1.0}, {"temperature": 1}, id="1.0 and 1"),
        pytest.param({"temperature": -0.0}, {"temperature": 0}, id="minus zero"),
        pytest.param({"a": (1, 2)}, {"a": [1, 2]}, id="tuple and list"),
        pytest.param({"a": City(name="x")}, {"a": {"name": "x"}}, id="model and its fields"),
        pytest.param({"a": 1, "api_key": "k", "api_base": "b"}, {"a": 1}, id="keys and addresses"),
        pytest.param({"a": 1, "base_url": "b"}, {"a": 1, "base_url": "c"}, id="base_url"),
    ],
)
def test_requests_that_mean_the_same_have_the_same_key(one, other):
    assert key_of(one) == key_of(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        pytest.param({"a": 1}, {"a": 2}, id="value"),
        pytest.param({"a": 1}, {"b": 1}, id="name"),
        pytest.param({"a": 1}, {"a": "1"}, id="text and number"),
        pytest.param({"a": 1}, {"a": True}, id="truth and number"),
        pytest.param({"a": None}, {}, id="None and nothing"),
        pytest.param({"a": ["x", "y"]}, {"a": ["xy"]}, id="pieces"),
        pytest.param({"a": "🍌"}, {"a": "\ud83c\udf4c"}, id="character and its two surrogates"),
        pytest.param({"a": City}, {"a": City.model_json_schema()}, id="class and its schema"),
    ],
)
def test_requests_that_differ_have_different_keys(one, other):
    assert key_of(one) != key_of(other)


def test_key_tells_nothing_of_the_request():
    assert len(key_of({"a": "x" * 1000})) == len(key_of({})) == 64


def with_itself():
    row = []
    row.append(row)
    return row


@pytest.mark.parametrize(
    "value",
    [print, object(), math.nan, math.inf, b"x", {1, 2}, {1: "a", "1": "b"}, with_itself()],
    ids=["function", "object", "nan", "inf", "bytes", "set", "mixed names", "cycle"],
)
def test_values_without_a_json_form_have_no_key(value):
    with pytest.raises((TypeError, ValueError)):
        key_of({"a": value})


def response(**more):
    return {"choices": [{"message": {"content": "x"}}], "usage": {"total_tokens": 3}, **more}


@pytest.mark.parametrize(
    "value",
    [
        "text", "", "lone \ud800 surrogate", "nul \0", 0, 1, True, -0.0, 1e300, 2**200, [], {},
        [1, [2.5, None]], {"a": {"b": [False]}}, "x" * 10**7, {"output": 5}, {"choices": ["a"]},
    ],
    ids=lambda value: repr(value)[:12],
)  # fmt: skip
def test_plain_values_come_back_as_they_were(value):
    entry = entry_of(value)

    assert isinstance(entry, Written)
    assert repr(entry.read()) == repr(value)


@pytest.mark.parametrize(
    "value",
    [(1, 2), {1: "a"}, {"a": (1,)}, b"bytes", math.inf, {1, 2}, City(name="x")],
    ids=lambda value: repr(value)[:12],
)
def test_values_that_json_would_change_come_back_as_they_were(value):
    entry = entry_of(value)

    assert isinstance(entry, Live)
    assert entry.read() == value
    assert type(entry.read()) is type(value)


@pytest.mark.parametrize(
    "value",
    [None, {"choices": []}, SimpleNamespace(choices=[]), threading.Lock()],
    ids=["None", "no choices", "object without choices", "lock"],
)
def test_what_cannot_or_shall_not_be_kept_is_not(value):
    assert entry_of(value) is None


@pytest.mark.parametrize(
    "value",
    [response(model="m"), SimpleNamespace(**response(model="m"))],
    ids=["dict", "object"],
)
def test_response_that_comes_back_is_marked_and_was_paid_for(value):
    hit = entry_of(value).read()
    shared = entry_of(value).read(is_hit=False)

    assert (hit.cache_hit, hit.usage, hit.model) == (True, {}, "m")
    assert (getattr(shared, "cache_hit", None), shared.usage) == (None, {})
    assert hit.choices[0]["message"]["content"] == "x"


@pytest.mark.parametrize(
    "around",
    [
        pytest.param(lambda rows: [rows], id="plain"),
        pytest.param(lambda rows: response(more=rows), id="response"),
        pytest.param(lambda rows: (1, rows), id="live"),
    ],
)
def test_copies_share_nothing_with_the_value_or_each_other(around):
    rows = ["kept"]
    entry = entry_of(around(rows))
    rows[0] = "spoilt"

    assert "kept" in repr(entry.read())
    assert entry.read() is not entry.read()


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("value", b"{"), ("value", b"\xff"), ("response", b"[]"), ("response", b"1"),
        ("pickle", b"1"), ("", b"1"), ("value", b"[" * 100_000),
        ("response", b'{"output": [{"type": "message", "content": [{"annotations": [5]}]}]}'),
    ],
    ids=["cut", "no text", "list", "number", "other kind", "no kind", "deep", "trap"],
)  # fmt: skip
def test_damaged_entry_of_a_file_is_none(kind, body):
    assert written(kind, body) is None


def test_field_that_a_response_lacks_is_named():
    with pytest.raises(AttributeError, match=r"no field 'choises': \['choices'\]"):
        Response(choices=[]).choises  # noqa: B018 - the access is the test
