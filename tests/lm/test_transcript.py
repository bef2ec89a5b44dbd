"""Transcripts: what `inspect_history` prints of one request."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from nbtool.lm.history import show
from nbtool.lm.transcript import transcript_of

pytestmark = pytest.mark.api("inspect_history")

CALL = {"function": {"name": "look", "arguments": '{"x": 1}'}}
PICTURE = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 5000}}
SOUND = {"type": "input_audio", "input_audio": {"data": "B" * 300, "format": "wav"}}
FILE = {"type": "file", "file": {"filename": "a.pdf", "file_data": "C" * 400}}


def entry(**given):
    return {"timestamp": "2026-01-02", "model": "openai/x", "prompt": None, **given}


def turn(content, **more):
    return entry(messages=[{"role": "user", "content": content, **more}], outputs=[])


def test_request_is_shown_with_time_model_turns_and_answers():
    messages = [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}]
    text = transcript_of(entry(messages=messages, outputs=["Hello", "Hey"]))

    assert text == (
        "[2026-01-02] openai/x\n\nsystem:\nBe kind.\n\nuser:\nHi\n\nanswer:\nHello\n\nanswer:\nHey"
    )


def test_prompt_is_shown_as_a_turn():
    text = transcript_of({**entry(messages=None, outputs=["4"]), "prompt": "2+2?"})

    assert "user:\n2+2?" in text


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param([{"type": "text", "text": "Look:"}], "Look:", id="text"),
        pytest.param([PICTURE], "<image_url: url=data:image/png;… 5,022 characters>", id="picture"),
        pytest.param(
            [{"type": "image_url", "image_url": {"url": "https://x/y.png"}}],
            "<image_url: url=https://x/y.png>",
            id="picture elsewhere",
        ),
        pytest.param([SOUND], "<input_audio: data=… 300 characters, format=wav>", id="sound"),
        pytest.param([FILE], "<file: filename=a.pdf, file_data=… 400 characters>", id="file"),
        pytest.param([{"type": "image", "image": "x.png"}], "<image: x.png>", id="bare"),
        pytest.param(["plain"], "plain", id="text alone"),
        pytest.param([{"own": 1}], "<part: own=1>", id="unknown part"),
        pytest.param(None, "user:\n", id="nothing"),
        pytest.param(7, "7", id="number"),
    ],
)
def test_parts_of_a_turn_are_shown_short(content, said):
    assert transcript_of(turn(content)).endswith(said)


@pytest.mark.parametrize(
    "calls",
    [
        pytest.param([CALL], id="OpenAI's form"),
        pytest.param([{"name": "look", "args": {"x": 1}}], id="flat form"),
        pytest.param(
            [SimpleNamespace(function=SimpleNamespace(name="look", arguments='{"x": 1}'))],
            id="objects",
        ),
    ],
)
def test_tool_calls_are_shown(calls):
    assert 'tool call: look {"x": 1}' in transcript_of(turn(None, tool_calls=calls))
    answered = entry(messages=[], outputs=[{"text": None, "tool_calls": calls}])
    assert 'answer:\ntool call: look {"x": 1}' in transcript_of(answered)


def test_reasoning_is_shown_before_the_answer():
    output = {"text": "4", "reasoning_content": "2 and 2"}

    assert transcript_of(entry(messages=[], outputs=[output])).endswith("(reasoning) 2 and 2\n4")


@pytest.mark.parametrize("odd", [{}, {"outputs": None, "messages": ["text"]}], ids=repr)
def test_entry_that_lacks_something_is_shown_all_the_same(odd):
    assert transcript_of(odd).startswith("[no time]")


def test_secrets_are_not_shown(monkeypatch, capsys):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-proj-1234567890abcdefghij")
    show([turn("my key is sk-proj-1234567890abcdefghij")], 1)

    assert "1234567890" not in capsys.readouterr().out
