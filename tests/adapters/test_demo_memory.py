"""Demos are written once, and again where anything of them has changed."""

from __future__ import annotations

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.xml import XMLAdapter
from nbtool.programs.example import Example
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import Type

pytestmark = pytest.mark.api("Adapter")

ADAPTERS = [ChatAdapter, JSONAdapter, XMLAdapter]


@pytest.fixture
def signature():
    return Signature("question: str, notes: list[str] -> answer: str, score: int")


@pytest.fixture
def demos():
    return [
        Example(question="2+2?", notes=["easy"], answer="4", score=1),
        {"question": "3+3?", "notes": [], "answer": "6", "score": 2},
    ]


def turns(adapter, signature, demos):
    return adapter.format(signature, demos, {"question": "?", "notes": []})[1:-1]


class Counting(JSONAdapter):
    """Count how often a demo is written, by the form that the class below it has."""

    _shows_demos_alike = True

    def __init__(self):
        super().__init__()
        self.written = 0

    def format_demos(self, signature, demos):
        self.written += 1
        return super().format_demos(signature, demos)


def test_the_same_demos_are_written_once_for_all_calls(signature, demos):
    adapter = Counting()
    first = turns(adapter, signature, demos)
    assert [turns(adapter, signature, list(demos)) for _ in range(3)] == [first] * 3
    assert adapter.written == 1


def set_value(demos):
    demos[0].answer = "four"


def change_a_list(demos):
    demos[1]["notes"].append("three and three")


def set_an_equal_value_of_another_type(demos):
    demos[0].score = True


def take_a_field_away(demos):
    del demos[1]["answer"]


def set_none(demos):
    demos[1]["answer"] = None


def add_a_demo(demos):
    demos.append({"question": "4+4?", "notes": [], "answer": "8", "score": 3})


def turn_round(demos):
    demos.reverse()


CHANGES = [
    set_value,
    change_a_list,
    set_an_equal_value_of_another_type,
    take_a_field_away,
    set_none,
    add_a_demo,
    turn_round,
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ADAPTERS)
def test_any_change_of_a_demo_is_seen(signature, demos, kind, change):
    adapter = kind()
    before = turns(adapter, signature, demos)
    change(demos)
    after = turns(adapter, signature, demos)

    afresh = Signature("question: str, notes: list[str] -> answer: str, score: int")
    assert after == turns(adapter, afresh, demos)
    assert after != before


def test_adapters_do_not_show_each_others_turns(signature, demos):
    each = [turns(kind(), signature, demos) for kind in ADAPTERS]
    assert each == [turns(kind(), signature, demos) for kind in ADAPTERS]
    assert each[0] != each[1] != each[2]


def test_messages_belong_to_whoever_gets_them(signature, demos):
    adapter = ChatAdapter()
    for turn in turns(adapter, signature, demos):
        turn["content"] = "changed"
    assert all(turn["content"] != "changed" for turn in turns(adapter, signature, demos))


@pytest.mark.parametrize("kind", [ChatAdapter, JSONAdapter, CompactAdapter])
def test_an_adapter_of_a_user_is_always_asked(signature, demos, kind):
    class Own(kind):
        word = "first"

        def format_assistant_message_content(self, signature, outputs, missing=None):
            return self.word

    adapter = Own()
    assert turns(adapter, signature, demos)[-1]["content"] == "first"
    adapter.word = "second"
    assert turns(adapter, signature, demos)[-1]["content"] == "second"


def test_values_that_are_more_than_plain_data_are_always_written(demos):
    class Mood:
        said = "fine"

        def __str__(self):
            return self.said

    signature = Signature("question: str, notes: list[str] -> answer")
    mood = Mood()
    demos = [{"question": "?", "notes": [], "answer": mood}]
    assert "fine" in turns(ChatAdapter(), signature, demos)[-1]["content"]
    mood.said = "tired"
    assert "tired" in turns(ChatAdapter(), signature, demos)[-1]["content"]


def test_custom_types_are_always_written():
    class Clock(Type):
        hour: int

        def format(self):
            return f"{self.hour} o'clock, asked {next(asked)}"

    asked = iter(range(9))
    signature = Signature({"seen": (Clock, InputField()), "answer": OutputField()})
    demos = [{"seen": {"hour": 3}, "answer": "tea"}]
    shown = [ChatAdapter().format(signature, demos, {"seen": Clock(hour=1)})[1] for _ in range(2)]
    assert shown[0]["content"] != shown[1]["content"]
