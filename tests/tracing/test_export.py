import json
import math
import os
import warnings

import pytest

from nbtool.errors import RecordingError
from nbtool.tracing import export
from nbtool.tracing.boundary import current_span, traced_inline, watching
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace

HEADER = '{"format":"nbtool-trace","schema":1}\n'
STEP = (
    '{"event":"span","id":1,"kind":"tool","name":"a","start_s":1.0,"end_s":2.0,"status":"ok",'
    '"output":"whole"}\n'
)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "trace.jsonl"


def fail(number):
    raise ZeroDivisionError(f"{number} / 0")


def root(question):
    span = current_span()
    span.annotate(model="m", retries=2)
    span.usage = {"prompt_tokens": 3, "completion_tokens": 1}
    span.cost_usd = 0.25
    with pytest.raises(ZeroDivisionError):
        traced_inline("tool", "divide", fail, {"number": 7})
    return {"answer": question.upper()}


def recorded(fn=root, **inputs):
    recorder = Recorder()
    with watching(recorder):
        traced_inline("lm", "root", fn, inputs or {"question": "why?"})
    return Trace(recorder.records)


def test_trace_comes_back_as_it_was(path):
    trace = recorded()

    trace.save(path)

    again = Trace.load(path)
    assert [span.to_json() for span in again] == [span.to_json() for span in trace]
    assert again.totals == trace.totals
    assert again.roots[0].attributes == {"model": "m", "retries": 2}
    assert again.children(again.roots[0])[0].error.message == "7 / 0"


def test_file_is_one_header_and_one_line_a_step(path):
    recorded().save(path)

    header, *steps = map(json.loads, path.read_text().splitlines())
    assert header.items() >= {"format": "nbtool-trace", "schema": export.SCHEMA_VERSION}.items()
    assert header.keys() == {
        "format", "schema", "nbtool", "python", "platform", "programs", "salt",
    }  # fmt: skip
    assert [step["event"] for step in steps] == ["span", "span"]


def test_trace_without_steps_comes_back_empty(path):
    Trace.of([]).save(path)

    assert len(Trace.load(path)) == 0


def test_running_step_comes_back_as_running(path):
    recorder = Recorder()
    with watching(recorder):
        traced_inline("tool", "a", lambda: Trace(recorder.records).save(path), {})

    span = Trace.load(path).spans[0]
    assert (span.status, span.end_s, span.output) == ("running", None, None)


ODD = {
    "nan": (math.nan, "nan"),
    "infinity": ([math.inf], ["inf"]),
    "lone_surrogate": ("\ud800 \udfff", "\ud800 \udfff"),
    "line_ends": ("a\nb\rc\u2028d\x85e\x1cf", "a\nb\rc\u2028d\x85e\x1cf"),
    "nul_and_escape": ("\x00\x1b]52;c;\x07", "\x00\x1b]52;c;\x07"),
    "emoji": ("🙂 語", "🙂 語"),
    "huge_int": (10**5000, "<int of 16,610 bits>"),
    "bytes": (b"\xff\xfe", "<2 bytes>"),
    "object": (object, "<class 'object'>"),
    "deep": ([[[[[[[[[[1]]]]]]]]]], [[[[[[[[[[1]]]]]]]]]]),
}


@pytest.mark.parametrize(("value", "form"), ODD.values(), ids=ODD)
def test_odd_value_survives_the_file(path, value, form):
    recorded(lambda value: value, value=value).save(path)

    span = Trace.load(path).spans[0]
    assert (span.inputs, span.output) == ({"value": form}, form)


def test_file_that_was_cut_off_gives_its_whole_steps_and_a_warning(path):
    path.write_text(HEADER + STEP + STEP[:50])

    with pytest.warns(UserWarning, match=r"last line of '.*trace\.jsonl' is cut off") as caught:
        trace = Trace.load(path)

    assert [span.output for span in trace] == ["whole"]
    assert caught[0].filename == __file__


def test_file_that_ends_without_a_line_end_is_whole(path):
    path.write_text(HEADER + STEP.strip())

    with warnings.catch_warnings(action="error"):
        assert len(Trace.load(path)) == 1


def with_field(text):
    return STEP.strip().replace('"output"', f'{text},"output"')


DAMAGED = {
    "no_json": "garbage",
    "half": STEP[:40],
    "empty": "",
    "list": "[1, 2]",
    "number": "5",
    "no_id": '{"kind":"tool","name":"a","start_s":1.0,"status":"ok"}',
    "text_as_time": STEP.strip().replace("1.0", '"early"'),
    "text_as_end": STEP.strip().replace("2.0", '"late"'),
    "unknown_kind": STEP.strip().replace("tool", "\\u001b]52;c;"),
    "unknown_status": STEP.strip().replace('"ok"', '"fine"'),
    "number_as_name": STEP.strip().replace('"a"', "5"),
    "list_as_inputs": with_field('"inputs":[1]'),
    "list_as_attributes": with_field('"attributes":[1]'),
    "text_as_tokens": with_field('"usage":{"prompt_tokens":"\\u001b"}'),
    "list_as_usage": with_field('"usage":[1]'),
    "text_as_cost": with_field('"cost_usd":"free"'),
    "text_as_error": with_field('"error":"bad"'),
    "error_of_other_shape": with_field('"error":{"kind":"x"}'),
    "number_as_error_type": with_field('"error":{"type":1,"message":"x"}'),
    "too_deep": "[" * 100_000,
    "infinite_time": STEP.strip().replace("1.0", "1e999"),
    "nan_as_cost": with_field('"cost_usd":NaN'),
    "binary": "\x00\x01\x02",
}  # fmt: skip


@pytest.mark.parametrize("line", DAMAGED.values(), ids=DAMAGED)
def test_damaged_line_in_the_middle_is_named(path, line):
    path.write_text(f"{HEADER}{STEP}{line}\n{STEP}")

    with pytest.raises(RecordingError, match=r"Line 3 of '.*trace\.jsonl'") as caught:
        Trace.load(path)

    assert caught.value.hint


NO_TRACES = {
    "empty": b"",
    "blank": b"\n\n",
    "prose": b"Dear diary\n",
    "json_list": b"[1]\n",
    "json_number": b"5\n",
    "other_format": b'{"format":"other","schema":1}\n',
    "step_first": STEP.encode(),
    "binary": bytes(range(256)),
    "utf_16": HEADER.encode("utf-16"),
    "too_deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_TRACES.values(), ids=NO_TRACES)
def test_file_that_is_no_trace_is_refused(path, content):
    path.write_bytes(content)

    with pytest.raises(RecordingError, match="is no trace of nbtool"):
        Trace.load(path)


@pytest.mark.parametrize("schema", ["2", "0", '"1"', "null", "[1]"])
def test_other_schema_version_is_refused_with_both_versions(path, schema):
    path.write_text(f'{{"format":"nbtool-trace","schema":{schema}}}\n{STEP}')

    with pytest.raises(RecordingError, match=r"schema .*; this version of nbtool reads 1"):
        Trace.load(path)


def test_missing_file_is_the_usual_error(path):
    with pytest.raises(FileNotFoundError):
        Trace.load(path)


class Failing:
    parent_id = 1

    def to_json(self):
        raise OSError("disk full")


def test_failed_write_leaves_the_old_file_and_no_other(path):
    path.write_text("old")

    with pytest.raises(OSError, match="disk full"):
        export.write_jsonl([*recorded(), Failing()], path)

    assert path.read_text() == "old"
    assert list(path.parent.iterdir()) == [path]


def test_save_replaces_the_old_file_whole(path):
    path.write_text("old " * 10_000)

    recorded().save(path)

    assert len(Trace.load(path)) == 2
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    "form", [str, os.fsencode, lambda path: path], ids=["str", "bytes", "path"]
)
def test_path_may_be_text_or_path(path, form):
    recorded().save(os.fsdecode(form(path)))

    assert len(Trace.load(os.fsdecode(form(path)))) == 2


def test_secret_is_not_in_the_file(path):
    recorded(lambda api_key: api_key, api_key="sk-abcDEF123456ghiJKL7890").save(path)

    assert "abcDEF123456" not in path.read_text()
    assert "<redacted>" in path.read_text()
