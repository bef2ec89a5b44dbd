import json

import pytest

import nbtool
from nbtool.testing import DummyLM
from nbtool.tracing.record import SpanRecord
from nbtool.views.detail import python_call, sections


def record(kind="tool", status="ok", **more):
    values = {
        "id": 1, "kind": kind, "name": "n", "start_s": 10.0,
        "end_s": None if status == "running" else 12.0, "status": status,
    }  # fmt: skip
    return SpanRecord.from_json({**values, **more})


def parts(step):
    return {section["title"]: section for section in sections(step)}


def test_request_is_shown_turn_by_turn_with_its_options_and_completion():
    turns = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    shown = parts(
        record("lm", inputs={"messages": turns, "temperature": 0.5}, output=["Hello"],
               usage={"prompt_tokens": 3, "completion_tokens": 1}, attributes={"model": "gpt"})
    )  # fmt: skip

    assert list(shown) == ["Messages", "Options", "Completion", "Facts"]
    assert shown["Messages"]["messages"] == [
        {"role": "system", "text": "Be kind."},
        {"role": "user", "text": "Hi"},
    ]
    assert shown["Completion"] == {"title": "Completion", "kind": "text", "text": "Hello"}
    assert ["tokens", "3 sent, 1 received"] in shown["Facts"]["rows"]


def test_every_completion_is_shown():
    assert list(parts(record("lm", output=["a", "b"])))[:2] == ["Completion 1", "Completion 2"]


def test_turn_with_parts_and_tool_calls_is_shown_as_json():
    turn = {"role": "assistant", "content": [{"type": "text", "text": "Hi"}], "tool_calls": [1]}
    (shown,) = parts(record("lm", inputs={"messages": [turn]}))["Messages"]["messages"]

    assert '"text": "Hi"' in shown["text"]
    assert '"tool_calls": [' in shown["text"]


def test_tool_is_shown_with_arguments_and_result():
    shown = parts(record(inputs={"city": "Oslo", "days": [1, 2]}, output={"sky": "grey"}))

    assert list(shown) == ["Arguments", "Result", "Facts"]
    assert shown["Arguments"]["rows"][0] == ["city", "Oslo"]
    assert json.loads(shown["Arguments"]["rows"][1][1]) == [1, 2]


def test_failed_step_is_shown_with_its_traceback():
    error = {"type": "KeyError", "message": "'temp'", "traceback": "File x, line 1"}
    shown = parts(record(status="error", error=error))["Error"]

    assert shown == {"title": "Error", "kind": "error", **error}


def test_running_request_is_shown_with_what_has_arrived():
    step = record("lm", status="running")
    step.show_arriving(["Once ", "upon"])

    assert parts(step)["So far"]["text"] == "Once upon"


def test_cache_and_retries_are_told():
    facts = parts(record("lm", attributes={"cache_hit": True, "retries": 2}))["Facts"]["rows"]

    assert ["answer", "from the cache"] in facts
    assert ["retries", "2"] in facts


def test_text_that_would_stop_a_page_is_cut():
    shown = parts(record(output="x" * 1_500_000))["Result"]["text"]

    assert len(shown) < 1_000_100
    assert "1,500,000 characters" in shown


CALLS = {
    "tool": (record(name="look", inputs={"city": "Oslo"}), "look(city='Oslo')"),
    "lm": (
        record("lm", attributes={"model": "openai/gpt-4o-mini"}, inputs={"prompt": "Hi"}),
        "nbtool.LM('openai/gpt-4o-mini')(prompt='Hi')",
    ),
    "predict": (
        record(
            "predict",
            name="Predict",
            attributes={"code": "nbtool.Predict('q -> a')"},
            inputs={"q": 1},
        ),
        "nbtool.Predict('q -> a')(q=1)",
    ),
    "module": (record("module", name="Agent", inputs={"x": None}), "Agent()(x=None)"),
    "odd name": (record(name="f", inputs={"a b": 1}), "f(**{'a b': 1})"),
}


@pytest.mark.parametrize(("step", "code"), CALLS.values(), ids=CALLS)
def test_step_is_written_as_the_call_that_repeats_it(step, code):
    assert python_call(step) == code


class Given(nbtool.Signature):
    """Answer."""

    q: int = nbtool.InputField()
    a: int = nbtool.OutputField()


def look():
    """Look."""
    return "seen"


class Own(nbtool.Predict):
    pass


PROGRAMS = {
    "text": (lambda: nbtool.Predict("q -> a: int | None"),
             "nbtool.Predict('q: str -> a: int | None')(q=1)"),
    "instructions": (lambda: nbtool.Predict(nbtool.Signature("q -> a", "Add.")),
                     "nbtool.Predict(nbtool.Signature('q: str -> a: str', 'Add.'))(q=1)"),
    "class": (lambda: nbtool.Predict(Given), "nbtool.Predict(Given)(q=1)"),
    "class of the user's": (lambda: Own(Given), "Own(Given)(q=1)"),
    "reasoning": (lambda: nbtool.ChainOfThought("q -> a"),
                  "nbtool.ChainOfThought('q: str -> a: str')(q=1)"),
    "tools": (lambda: nbtool.ReAct(Given, tools=[look]),
              "nbtool.ReAct(Given, tools=[look])(q=1)"),
}  # fmt: skip


@pytest.mark.parametrize(("make", "code"), PROGRAMS.values(), ids=PROGRAMS)
def test_call_of_a_program_can_be_pasted_and_repeats_it(make, code):
    chosen = {"next_thought": "t", "next_tool_name": "finish", "next_tool_args": {}}
    lm = DummyLM({"q": {**chosen, "reasoning": "r", "a": 2}})
    with nbtool.context(lm=lm), nbtool.trace() as recorded:
        make()(q=1)

    assert python_call(recorded.spans[0]) == code
