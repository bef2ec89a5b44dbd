"""Reading the JSON that models write: broken a little, or made to hurt."""

from __future__ import annotations

import contextlib
import json
import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.mending import loads, loads_object, sound

READ = {
    "sound": ('{"a": [1, null]}', {"a": [1, None]}),
    "one quote": ("{'a': 1, 'b': [2, 3]}", {"a": 1, "b": [2, 3]}),
    "bare keys": ("{a: 1}", {"a": 1}),
    "comma at the end": ('{"a": [1, 2,],}', {"a": [1, 2]}),
    "words of Python": ('{"a": True, "b": None}', {"a": True, "b": None}),
    "line break inside": ('{"a": "x\ny"}', {"a": "x\ny"}),
    "prose around": ('Here: {"a": 1}. More: {"a": 2}', {"a": 1}),
    "braces before": ('See {this} and {"a": 1}', {"a": 1}),
    "fence": ('```json\n{"a": 1}\n```', {"a": 1}),
    "cut off": ('{"a": [1, 2', {"a": [1, 2]}),
    "long and cut off": ('{"a": "' + "x" * 500_000, {"a": "x" * 500_000}),
    "same key twice": ('{"a": 1, "a": 2}', {"a": 2}),
    "same key twice, broken": ("{'a': 1, 'a': 2", {"a": 2}),
    "half a character": ('{"a": "\\ud800"}', {"a": "\ufffd"}),
    "a pair of halves": ('{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    "half a character as key": ('{"\\udc00": 1}', {"\ufffd": 1}),
    "byte order mark": ('\ufeff{"a": 1}', {"a": 1}),
    "number": (" 5 ", 5),
}


@pytest.mark.parametrize(("text", "value"), READ.values(), ids=READ)
def test_value_is_read_so(text, value):
    assert loads(text) == value


def test_numbers_that_are_none_are_read_as_python_does():
    value = loads('{"a": NaN, "b": -Infinity}')

    assert math.isnan(value["a"])
    assert value["b"] == -math.inf


@pytest.mark.parametrize(
    "text",
    ["", "Oslo", '"abc', "2024-01-02", "\\", "[" * 5000],
    ids=["empty", "word", "open quote", "date", "backslash", "deep"],
)
def test_what_is_no_json_is_a_value_error(text):
    with pytest.raises(ValueError, match="it has no JSON"):
        loads(text)


HOSTILE = {
    "braces": "{" * 1_000_000,
    "deep": '{"a":' * 200_000 + "1" + "}" * 200_000,
    "deep list": "[" * 200_000 + "]" * 200_000,
    "quotes": '{"' * 200_000,
    "odd quotes": '["“”' + '"”' * 100_000,
    "one long word": '["' + "x" * 1_000_000,
    "fences": '[```"' * 100_000,
    "endless number": '{"a": ' + "9" * 100_000,
    "prose with braces": "{some text, no json} " * 50_000,
    "escapes": '{"a": "' + "\\" * 1_000_001,
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize("read", [loads, lambda text: loads_object(text, ["a"])], ids=["any", "a"])
def test_hostile_text_is_read_or_refused_soon(read, text):
    started = time.process_time()
    with contextlib.suppress(ValueError):
        json.dumps(read(text)).encode()

    assert time.process_time() - started < 20  # mended without bounds it takes minutes


@given(st.text(alphabet=st.sampled_from("{}[]\"':,\\\n 1.eaT-/*`“\ud800"), max_size=80))
def test_any_text_is_a_value_or_a_value_error(text):
    with contextlib.suppress(ValueError):
        json.dumps(loads(text), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param('{"x": 0} {"answer": 1}', {"answer": 1}, id="the second of two"),
        pytest.param('[{"x": 0}, {"answer": 1}]', {"answer": 1}, id="in a list"),
        pytest.param('{"answer": 1} {"answer": 2}', {"answer": 1}, id="the first of two"),
        pytest.param("{x: 0} so {'answer': 1,}", {"answer": 1}, id="broken"),
        pytest.param('{"other": 1}', {"other": 1}, id="other keys"),
        pytest.param("{'a': {'answer': 2}, 'answer': 1}", {"a": {"answer": 2}, "answer": 1},
                     id="outermost"),
    ],
)  # fmt: skip
def test_object_that_was_asked_for_is_found(text, found):
    assert loads_object(text, ["answer"]) == found


@pytest.mark.parametrize("text", ["", "Oslo", "[1, 2]", "5", '"answer"'])
def test_answer_without_object_is_a_value_error(text):
    with pytest.raises(ValueError, match="it has no JSON object"):
        loads_object(text, ["answer"])


@given(st.text())
def test_sound_text_stays_as_it_is_and_any_can_be_sent(text):
    sound(f"{text}\udfff").encode()

    assert sound(text) == text
