"""Readers give, piece by piece, what the adapters' `parse` finds in the whole answer."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.adapters.xml import XMLAdapter
from nbtool.errors import AdapterParseError
from nbtool.signatures.signature import Signature

TWO = Signature("question -> answer, note")
TYPED = Signature("question -> scores: list[int], answer")
FRAGMENTS = [
    "[[ ## answer ## ]]",
    "[[ ## note ## ]]",
    "[[ ## completed ## ]]",
    "[[ ## other ## ]]",
    "\\[[ ## note ## ]]",
    "[[ ##",
    "[[",
    " ## ]]",
    "\\",
    "\n",
    "\n\n",
    "\r\n",
    " ",
    "\t",
    "\f",
    "word",
    "zß水🍌",
    "",
]


def pieces_of(adapter, signature, texts):
    reader = adapter.__stream_reader__({"signature": signature})
    fed = [list(reader.feed(text)) for text in texts]
    return [*itertools.chain(*fed), *reader.finish()]


def texts_of(pieces):
    return {
        name: "".join(text for _, text, _ in group)
        for name, group in itertools.groupby(pieces, key=lambda piece: piece[0])
    }


@st.composite
def cut(draw, text):
    """Cut a text anywhere."""
    places = sorted(draw(st.lists(st.integers(0, len(text)), max_size=12)))
    return [text[a:b] for a, b in itertools.pairwise([0, *places, len(text)])]


ADAPTERS = {"chat": ChatAdapter(), "json": JSONAdapter(), "xml": XMLAdapter()}
TAGS = ["<answer>", "</answer>", "<note>", "</note>", "<b>", "</b>", "<", ">", "/", "&", "&amp;"]
TAGS += ["&lt;", ";", "<![CDATA[", "]]>", "word", " ", "\n", "<answer/>", "zß水🍌", "<question>"]


@pytest.mark.parametrize("adapter", ADAPTERS.values(), ids=ADAPTERS)
@given(data=st.data(), answer=st.text(max_size=60), note=st.sampled_from(FRAGMENTS))
def test_texts_arrive_as_parse_reads_them_wherever_the_answer_is_cut(adapter, data, answer, note):
    written = adapter.format_assistant_message_content(TWO, {"answer": answer, "note": note})
    pieces = pieces_of(adapter, TWO, data.draw(cut(written)))
    read = adapter.parse(TWO, written)
    assert {**dict.fromkeys(read, ""), **texts_of(pieces)} == read


@given(data=st.data(), fragments=st.lists(st.sampled_from(FRAGMENTS), max_size=12))
def test_chat_answers_of_any_shape_arrive_as_parse_reads_them(data, fragments):
    answer = "".join(fragments)
    try:
        read = ChatAdapter().parse(TWO, answer)
    except AdapterParseError as error:
        read = error.parsed_result or {}
    found = texts_of(pieces_of(ChatAdapter(), TWO, data.draw(cut(answer))))
    assert {name: found.get(name, "") for name in read} == read


@given(data=st.data(), fragments=st.lists(st.sampled_from(TAGS), max_size=12))
def test_the_end_of_an_xml_answer_of_any_shape_is_as_parse_reads_it(data, fragments):
    answer = f"<answer>{''.join(fragments)}</answer><note>n</note>"
    found = texts_of(pieces_of(XMLAdapter(), TWO, data.draw(cut(answer))))
    assert {**dict.fromkeys(TWO.output_fields, ""), **found} == XMLAdapter().parse(TWO, answer)


@given(data=st.data(), letters=st.text('{}[]",:\\abn \n1', max_size=40))
def test_a_reader_of_json_takes_any_text(data, letters):
    texts = data.draw(cut('{"answer": "' + letters))
    assert {name for name, _, _ in pieces_of(JSONAdapter(), TWO, texts)} <= {"answer", "note"}


@pytest.mark.parametrize(
    ("adapter", "answer"),
    [
        (ChatAdapter(), "[[ ## scores ## ]]\n[1,\n 2]\n\n[[ ## answer ## ]]\nyes"),
        (JSONAdapter(), '{"scores": [1,\n 2], "answer": "yes"}'),
    ],
    ids=["chat", "json"],
)
def test_a_field_that_is_no_text_comes_whole(adapter, answer):
    pieces = pieces_of(adapter, TYPED, list(answer))
    scores = [piece for piece in pieces if piece[0] == "scores"]
    assert [(text.replace("\n", ""), is_last) for _, text, is_last in scores] == [("[1, 2]", True)]
    assert texts_of(pieces)["answer"] == "yes"


def test_a_letter_is_given_as_soon_as_it_can_be_no_part_of_a_marker():
    reader = ChatAdapter().__stream_reader__({"signature": TWO})
    given = [list(reader.feed(text)) for text in ["[[ ## answer ## ]]\n", "a", "\n[[ ", "b"]]
    assert given == [[], [("answer", "a", False)], [], [("answer", "\n[[ b", False)]]


@pytest.mark.parametrize(
    "answer",
    [
        '```json\n{"answer": "yes", "note": "n"}\n```\n',
        'Not {this} but {"answer": "yes", "note": "n"} is it.',
        '{"answer": "yes", "note": "n"} {"answer": "no"}',
        '{"unasked": {"answer": "no"}, "answer": "yes", "note": "n"}',
    ],
    ids=["fence", "braces before", "two objects", "inside of another"],
)
def test_json_is_found_in_what_stands_round_it(answer):
    found = texts_of(pieces_of(JSONAdapter(), TWO, list(answer)))
    assert found == {"answer": "yes", "note": "n"}


def test_line_breaks_inside_of_a_json_string_do_not_stop_its_stream():
    found = texts_of(pieces_of(JSONAdapter(), TWO, ['{"answer": "a\nb', 'c\t", "note": "n"}']))
    assert found == {"answer": "a\nbc\t", "note": "n"}


def test_a_long_json_answer_is_not_read_again_with_each_letter():
    reader = JSONAdapter().__stream_reader__({"signature": TWO})
    begun = list(reader.feed('{"answer": "' + "a" * 100_000))
    given = [list(reader.feed("b")) for _ in range(400)]
    assert len(begun) == 1
    assert [bool(pieces) for pieces in given].count(True) == 0
    assert list(reader.finish()) == [("answer", "b" * 400, False)]


@pytest.mark.parametrize("behind", ["", "\n", " ", "\f"], ids=repr)
def test_an_escaped_marker_is_text_also_where_a_field_begins(behind):
    answer = f"[[ ## answer ## ]]{behind}\\[[ ## note ## ]]"
    found = texts_of(pieces_of(ChatAdapter(), TWO, list(answer)))
    assert found["answer"] == "[[ ## note ## ]]"
