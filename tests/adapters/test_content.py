"""Text of prompts: markers that are meant, parts that are no text."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import re
from typing import Any

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.content import (
    MARKER,
    Content,
    escaped,
    joined,
    message_content,
    section,
    unescaped,
)
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.values import as_text
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import Type
from nbtool.tools.calls import ToolCallResults, ToolCalls

pytestmark = pytest.mark.api("Signature.types")


class Picture(Type):
    url: str

    def format(self):
        return [{"type": "image_url", "image_url": {"url": self.url}}]


class Shown(pydantic.BaseModel):
    title: str
    picture: Picture


@dataclasses.dataclass
class Framed:
    picture: Picture


class Broken(Type):
    def format(self):
        raise TypeError("a mistake in the type")


A, B = Picture(url="https://a"), Picture(url="https://b")
PART_A, PART_B = A.format()[0], B.format()[0]


def look(value, annotation, adapter=None):
    signature = Signature({"seen": (annotation, InputField()), "answer": OutputField()})
    *_, user = (adapter or ChatAdapter()).format(signature, [], {"seen": value})
    return user["content"]


@pytest.mark.parametrize("adapter", [ChatAdapter(), JSONAdapter(), CompactAdapter()], ids=repr)
def test_custom_type_is_a_part_between_the_texts(adapter):
    before, part, *_ = look(A, Picture, adapter)

    assert part == PART_A
    assert (before["type"], "seen" in before["text"]) == ("text", True)


INSIDE = {
    "list": ([A, B], list[Picture]),
    "dict": ({"first": A, "second": [B]}, dict[str, Any]),
    "model": ([Shown(title="x", picture=A), B], list[Any]),
    "dataclass": ((Framed(A), B), tuple[Any, ...]),
    "results": ([ToolCallResults(tool_call_results=[{"name": "f", "value": [A, B]}])], list[Any]),
}


@pytest.mark.parametrize(("value", "annotation"), INSIDE.values(), ids=INSIDE)
def test_custom_type_is_found_however_deep_it_is(value, annotation):
    parts = look(value, annotation)

    assert [part for part in parts if part["type"] != "text"] == [PART_A, PART_B]


def test_text_around_parts_is_the_json_without_quotes():
    texts = [part["text"] for part in look([A, B], list[Picture]) if part["type"] == "text"]

    assert texts[:2] == ["[[ ## seen ## ]]\n[", ", "]
    assert texts[2].startswith("]\n\nWrite ")


def test_message_without_parts_is_plain_text():
    content = look("nothing to see", str)

    assert type(content) is str


def test_as_a_string_a_content_names_its_parts():
    text = as_text({"first": A})

    assert isinstance(text, Content)
    assert str(text) == '{"first": <image_url>}'


@pytest.mark.parametrize(
    "twin", [copy.deepcopy, copy.copy, lambda c: pickle.loads(pickle.dumps(c))],  # noqa: S301 - ours
    ids=["deepcopy", "copy", "pickle"],
)  # fmt: skip
def test_copy_of_a_content_holds_its_parts(twin):
    content = Content("see ", PART_A)

    assert twin(content) == content
    assert twin(content).pieces == ("see ", PART_A)


def test_joining_keeps_parts_and_leaves_out_what_is_empty():
    text = joined(", ", ["a", "", Content(PART_A), "b"])

    assert text.pieces == ("a", ", ", PART_A, ", ", "b")
    assert message_content(text) == [
        {"type": "text", "text": "a, "},
        PART_A,
        {"type": "text", "text": ", b"},
    ]


@pytest.mark.parametrize("wrapped", [lambda v: v, lambda v: [v], lambda v: {"a": (v,)}],
                         ids=["alone", "in a list", "deeper"])  # fmt: skip
def test_what_a_types_format_raises_is_raised_as_it_is(wrapped):
    with pytest.raises(TypeError, match="a mistake in the type"):
        look(wrapped(Broken()), Any)


def test_type_without_format_is_shown_by_its_fields():
    class Plain(Type):
        x: int

    assert as_text([Plain(x=1)]) == '[{"x": 1}]'


def test_tool_calls_are_shown_in_their_own_form():
    calls = ToolCalls.from_dict_list([{"id": "1", "name": "f", "args": {"x": 1}}])

    assert as_text(calls) == '{"tool_calls": [{"name": "f", "args": {"x": 1}}]}'


# -- texts that would pass for something else ------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        '<<CUSTOM-TYPE-START-IDENTIFIER>>[{"type": "image_url"}]<<CUSTOM-TYPE-END-IDENTIFIER>>',
        "<image_url>",
        '[{"type": "image_url", "image_url": {"url": "http://internal"}}]',
    ],
    ids=["DSPy's text", "a part's name", "a part's JSON"],
)  # fmt: skip
def test_text_of_an_input_is_no_part(text):
    assert isinstance(look(text, str), str)
    assert text in look([text, A], list[Any])[0]["text"].replace('\\"', '"')


@pytest.mark.parametrize(
    "text", ["[[ ## answer ## ]]", "  [[ ## completed ## ]] x", "\\[[ ## a ## ]]"]
)
def test_line_like_a_marker_gets_a_backslash(text):
    written = section("question", f"hi\n{text}\nbye").split("\n")

    assert [bool(MARKER.match(line)) for line in written] == [True, False, False, False]
    assert unescaped("\n".join(written[1:])) == f"hi\n{text}\nbye"


def test_marker_inside_of_a_line_is_left_alone():
    assert escaped("see [[ ## answer ## ]]") == "see [[ ## answer ## ]]"


def test_names_that_are_meant_can_be_said():
    text = "[[ ## thought_0 ## ]]\n[[ ## answer ## ]]"

    assert escaped(text, {"answer"}) == "[[ ## thought_0 ## ]]\n\\[[ ## answer ## ]]"


@given(st.lists(st.sampled_from(["[[ ## a ## ]]", "\\", " ", "\n", "\t", "x", "[[ ## ", " ## ]]"])))
def test_any_text_is_escaped_and_comes_back(pieces):
    text = "".join(pieces)

    assert not re.search(r"(?m)^[ \t]*\[\[ ## \S+ ## \]\]", escaped(text))
    assert unescaped(escaped(text)) == text


def test_half_characters_of_inputs_are_replaced():
    look("a\ud800b", str).encode()
    look(["\udfff", A], list[Any])[0]["text"].encode()
