"""`DummyLM`: an LM without a provider."""

from __future__ import annotations

import asyncio

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.example import Example
from nbtool.programs.predict import Predict
from nbtool.testing.dummy import DummyLM

pytestmark = pytest.mark.api("DummyLM")
ADAPTERS = [ChatAdapter(), JSONAdapter(), CompactAdapter()]
FIELDS = {"answer": "Paris", "score": 3, "tags": ["a", "b"], "open": True}
TYPED = "question -> answer, score: int, tags: list[str], open: bool"


async def test_answers_of_a_list_come_in_order_and_then_no_more():
    predict = Predict("question -> answer")
    with context(lm=DummyLM([{"answer": "red"}, {"answer": "blue"}])):
        answers = [(await predict.acall(question="?")).answer for _ in range(3)]

    assert answers == ["red", "blue", "No more responses"]


async def test_answers_of_a_dict_are_found_by_a_part_of_the_last_message():
    lm = DummyLM({"sky": {"answer": "blue"}, "grass": {"answer": "green"}})
    predict = Predict("question -> answer")
    with context(lm=lm):
        asked = [predict.acall(question=f"The {thing}?") for thing in ("grass", "sky", "grass")]
        predictions = await asyncio.gather(*asked)

    assert [prediction.answer for prediction in predictions] == ["green", "blue", "green"]


async def test_question_that_nothing_fits_has_no_answer():
    with context(lm=DummyLM({"sky": {"answer": "blue"}})):
        prediction = await Predict("question -> answer").acall(question="The sea?")

    assert prediction.answer == "No more responses"


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
async def test_answer_is_written_as_the_adapter_reads_it(adapter):
    lm = DummyLM([FIELDS], adapter=adapter)
    with context(lm=lm, adapter=adapter):
        prediction = await Predict(TYPED).acall(question="?")

    assert prediction.toDict() == FIELDS


async def test_answer_without_an_adapter_is_as_the_chat_adapter_writes_it():
    plain, chat = DummyLM([FIELDS]), DummyLM([FIELDS], adapter=ChatAdapter())

    assert await plain.acall("x") == await chat.acall("x")
    assert (await DummyLM([{"answer": "x"}]).acall("?"))[0].startswith("[[ ## answer ## ]]\nx")


async def test_examples_are_followed_on_demand():
    demo = Example(question="Colour of the sky?", answer="pink").with_inputs("question")
    lm = DummyLM([{"answer": "red"}] * 2, follow_examples=True)
    predict = Predict("question -> answer")
    with context(lm=lm):
        followed = await predict.acall(question="Colour of the sky?", demos=[demo])
        free = await predict.acall(question="Colour of the sea?", demos=[demo])

    assert (followed.answer, free.answer) == ("pink", "red")


async def test_reasoning_is_filled_in_on_demand():
    with context(lm=DummyLM([{"answer": "42"}], reasoning=True)):
        prediction = await ChainOfThought("question -> answer").acall(question="?")

    assert (prediction.reasoning, prediction.answer) == ("No more responses", "42")


async def test_given_reasoning_is_kept():
    with context(lm=DummyLM([{"reasoning": "So.", "answer": "42"}], reasoning=True)):
        prediction = await ChainOfThought("question -> answer").acall(question="?")

    assert prediction.reasoning == "So."


async def test_several_answers_at_once_are_several_of_the_list():
    lm = DummyLM([{"answer": "a"}, {"answer": "b"}, {"answer": "c"}])

    assert len(await lm.acall("x", n=2)) == 2
    assert len(lm.history[0]["outputs"]) == 2


def test_it_is_called_synchronously_too():
    assert "Paris" in DummyLM([{"answer": "Paris"}])("Capital?")[0]


async def test_conversations_can_be_read_back():
    lm = DummyLM([{"answer": "Paris"}])
    turns = [{"role": "user", "content": "Capital?"}]
    outputs = await lm.acall(messages=turns)

    assert lm.get_convo(-1) == (turns, outputs)


async def test_usage_counts_words():
    lm = DummyLM([{"answer": "Paris"}])
    await lm.acall("What is it?")

    assert lm.history[0]["usage"]["prompt_tokens"] == 3


def test_copies_take_from_the_same_list():
    lm = DummyLM([{"answer": "a"}, {"answer": "b"}])

    assert ("\na\n" in lm("x")[0], "\nb\n" in lm.copy()("x")[0]) == (True, True)
