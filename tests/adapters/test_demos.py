"""Worked examples in the messages of a request."""

from __future__ import annotations

from typing import Any

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.programs.example import Example
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import Type

pytestmark = pytest.mark.api("Adapter")

SUM = Signature("a: int, b: int -> why, total: int")
WHOLE = {"a": 1, "b": 2, "why": "1 and 2", "total": 3}
PARTIAL = {"a": 5, "total": 7}


class Picture(Type):
    url: str

    def format(self):
        return [{"type": "image_url", "image_url": {"url": self.url}}]


LOOK = Signature(
    {"question": InputField(), "seen": (Picture, InputField()), "answer": OutputField()}
)
PART = {"type": "image_url", "image_url": {"url": "https://a"}}


def shown(demos, adapter=None, signature=SUM):
    return (adapter or ChatAdapter()).format(signature, demos, {"a": 0, "b": 0})[1:-1]


@pytest.mark.parametrize("demo", [WHOLE, Example(**WHOLE)], ids=["dict", "example"])
@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=repr)
def test_demo_is_a_question_and_an_answer_that_can_be_read(adapter, demo):
    asked, answered = shown([demo], adapter)

    assert (asked["role"], answered["role"]) == ("user", "assistant")
    assert asked["content"] == "[[ ## a ## ]]\n1\n\n[[ ## b ## ]]\n2"
    assert adapter.parse(SUM, answered["content"]) == {"why": "1 and 2", "total": 3}


def test_demos_with_all_fields_stand_next_to_the_question():
    contents = [turn["content"] for turn in shown([WHOLE, PARTIAL])]

    assert ["[[ ## a ## ]]\n5" in content for content in contents] == [True, False, False, False]


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter()], ids=repr)
def test_demo_that_lacks_fields_says_so(adapter):
    asked, answered = shown([PARTIAL], adapter)

    assert asked["content"].startswith("An example that shows only some of the fields.\n\n[[ ## a")
    assert "Not part of this example." in answered["content"]
    assert adapter.parse(SUM, answered["content"])["total"] == 7


@pytest.mark.parametrize(
    "demo", [{}, {"a": 1, "b": 2}, {"why": "x", "total": 3}, {"note": 1}],
    ids=["empty", "no output", "no input", "other fields"],
)  # fmt: skip
def test_demo_without_question_or_answer_is_left_out(demo):
    assert shown([demo]) == []


def test_none_counts_as_missing_unless_it_is_a_value():
    signature = Signature("a -> b: int | None, c")
    sent = ChatAdapter().format(
        signature, [{"a": "x", "b": None, "c": "y"}, {"a": "x", "b": 1, "c": None}], {"a": "z"}
    )

    assert [turn["content"][:10] for turn in sent[1:4:2]] == ["An example", "[[ ## a ##"]


def test_small_model_sees_only_demos_with_all_outputs():
    sent = CompactAdapter().format(SUM, [WHOLE, PARTIAL], {"a": 0, "b": 0})

    assert [turn["role"] for turn in sent] == ["user", "assistant", "user"]


def test_demos_may_come_one_by_one():
    assert len(shown(iter([WHOLE, WHOLE]))) == 4


SAVED = {
    "value": Picture(url="https://a"),
    "JSON": {"url": "https://a"},
    "DSPy's text": "<<CUSTOM-TYPE-START-IDENTIFIER>>"
    '[{"type": "image_url", "image_url": {"url": "https://a"}}]'
    "<<CUSTOM-TYPE-END-IDENTIFIER>>",
}


@pytest.mark.parametrize("seen", SAVED.values(), ids=SAVED)
def test_custom_type_of_a_saved_demo_is_shown_as_it_was(seen):
    demo = {"question": "What?", "seen": seen, "answer": "A cat."}
    asked = ChatAdapter().format(LOOK, [demo], {"question": "?"})[1]

    assert [part for part in asked["content"] if part["type"] != "text"] == [PART]


@pytest.mark.parametrize(
    "seen",
    ["<<CUSTOM-TYPE-START-IDENTIFIER>>[{<<CUSTOM-TYPE-END-IDENTIFIER>>", "a picture", 3, {"x": 1}],
    ids=["damaged", "text", "number", "other keys"],
)
def test_damaged_custom_type_of_a_demo_is_shown_as_text(seen):
    demo = {"question": "What?", "seen": seen, "answer": "A cat."}

    assert isinstance(ChatAdapter().format(LOOK, [demo], {"question": "?"})[1]["content"], str)


def test_markers_of_a_saved_trajectory_are_meant():
    signature = Signature("question, trajectory -> answer")
    demo: dict[str, Any] = {"question": "?", "answer": "x"}
    demo["trajectory"] = "[[ ## thought_0 ## ]]\nHm.\n[[ ## answer ## ]]\nnot meant"
    asked = ChatAdapter().format(signature, [demo], {"question": "?"})[1]["content"]

    assert "\n[[ ## thought_0 ## ]]\nHm.\n\\[[ ## answer ## ]]\n" in asked
