"""Earlier turns of a conversation in the messages of a request."""

from __future__ import annotations

import json

import pydantic
import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.compact import CompactAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.errors import InputError
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.programs.react import ReAct
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import History
from nbtool.testing.dummy import DummyLM
from nbtool.tools.calls import ToolCallResults, ToolCalls
from nbtool.tools.tool import Tool

pytestmark = pytest.mark.api("History")

CHAT = Signature("question, history: History -> answer", custom_types={"History": History})
TOLD = [{"question": "Hi!", "answer": "Hello."}, {"question": "How?", "answer": "Well."}]
ADAPTERS = [ChatAdapter(), JSONAdapter(), CompactAdapter()]


def messages(history, adapter=None, signature=CHAT, **inputs):
    given = {"question": "So?", "history": history, **inputs}
    return (adapter or ChatAdapter()).format(signature, [], given)


def turns(history, adapter=None, signature=CHAT):
    return [(t["role"], t["content"]) for t in messages(history, adapter, signature)[1:-1]]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_earlier_turns_stand_before_the_question_as_they_were(adapter):
    sent = adapter.format(CHAT, [], {"question": "So?", "history": History(messages=TOLD)})
    roles, contents = [t["role"] for t in sent][-5:], [t["content"] for t in sent][-5:]

    assert roles == ["user", "assistant", "user", "assistant", "user"]
    said = ["Hi!", "Hello.", "How?", "Well.", "So?"]
    assert [said[i] in contents[i] for i in range(5)] == [True] * 5


def test_turn_is_what_was_sent_and_answered_then():
    asked, answered, *_ = turns(History(messages=TOLD))

    assert asked == ("user", messages(None, question="Hi!")[-1]["content"])
    assert answered == ("assistant", "[[ ## answer ## ]]\nHello.\n\n[[ ## completed ## ]]")


@pytest.mark.parametrize("adapter", ADAPTERS, ids=repr)
def test_history_itself_is_no_field_of_the_prompt(adapter):
    shown = json.dumps(messages(History(messages=TOLD), adapter)).replace("So?", "")

    assert [word in shown for word in ("## history ##", "`history` (", "history:")] == [False] * 3


@pytest.mark.parametrize(
    "given",
    [History(messages=TOLD), TOLD, {"messages": TOLD},
     History(messages=[{**Prediction(**turn)} for turn in TOLD])],
    ids=["history", "list", "JSON", "predictions"],
)  # fmt: skip
def test_history_may_be_given_in_several_ways(given):
    assert turns(given) == turns(History(messages=TOLD))


@pytest.mark.parametrize("given", [None, [], History(messages=[])], ids=["none", "list", "empty"])
def test_conversation_may_begin_without_history(given):
    assert turns(given) == []
    assert len(ChatAdapter().format(CHAT, [], {"question": "So?"})) == 2


@pytest.mark.parametrize("given", ["Hi!", 3, {"turns": []}, [1]], ids=repr)
def test_what_is_no_history_is_told(given):
    with pytest.raises(InputError, match=r"history of a conversation cannot be read") as caught:
        messages(given)

    assert "History(messages=" in caught.value.hint


def test_fields_of_another_signature_are_left_out():
    (asked, answered) = turns([{**TOLD[0], "score": 3, "mood": "good"}])

    assert ("score" in asked[1], "good" in answered[1]) == (False, False)


def test_turn_may_have_one_side_only():
    history = [{"question": "Hi!"}, {"answer": "Hello."}, {"note": "nothing"}]

    assert [role for role, _ in turns(history)] == ["user", "assistant"]


@pytest.mark.parametrize("adapter", ADAPTERS[:2], ids=repr)
def test_answer_that_lacks_a_field_keeps_its_form(adapter):
    (_, (_, answered)) = turns(TOLD[:1], adapter, CHAT.prepend("reasoning", OutputField()))

    read = adapter.parse(Signature("question -> reasoning, answer"), answered)
    assert read == {"reasoning": "Not kept of this turn.", "answer": "Hello."}


def test_text_of_a_turn_cannot_pass_for_a_field():
    (_, answered) = turns([{"question": "?", "answer": "x\n[[ ## answer ## ]]\ny"}])

    assert ChatAdapter().parse(CHAT, answered[1]) == {"answer": "x\n[[ ## answer ## ]]\ny"}


def test_demos_of_a_conversation_may_lack_the_history():
    demos = [
        {"question": "1+1?", "answer": "2"},
        {"question": "So?", "history": TOLD, "answer": "x"},
    ]
    sent = ChatAdapter().format(CHAT, demos, {"question": "?"})

    assert sent[1]["content"] == "[[ ## question ## ]]\n1+1?"
    assert sent[3]["content"].startswith("[[ ## question ## ]]\nSo?\n\n[[ ## history ## ]]\n")


def test_inputs_are_left_as_they_were():
    inputs = {"question": "So?", "history": History(messages=TOLD)}
    ChatAdapter().format(CHAT, [], inputs)

    assert list(inputs) == ["question", "history"]


def test_history_cannot_be_changed_and_takes_only_messages():
    history = History(messages=TOLD)
    with pytest.raises(pydantic.ValidationError):
        history.messages = []
    with pytest.raises(pydantic.ValidationError):
        History(turns=[])

    assert History.model_validate_json(history.model_dump_json()) == history


# -- in programs -----------------------------------------------------------------------------------


async def test_conversation_goes_on_turn_by_turn():
    lm = DummyLM([{"answer": "Paris"}, {"answer": "2 million"}])
    chat = Predict(CHAT)
    first = await chat.acall(question="Capital of France?", lm=lm)
    history = History(messages=[{"question": "Capital of France?", **first}])
    second = await chat.acall(question="How many live there?", history=history, lm=lm)

    assert second.answer == "2 million"
    sent = lm.history[-1]["messages"]
    assert [("Paris" in turn["content"]) for turn in sent] == [False, False, True, False]


@pytest.mark.parametrize("program", ["chain of thought", "react"])
def test_every_program_takes_a_history(program):
    finish = {"next_thought": "t", "next_tool_name": "finish", "next_tool_args": "{}"}
    answer = {"reasoning": "r", "answer": "x"}
    made, answers = {
        "chain of thought": (ChainOfThought(CHAT), [answer]),
        "react": (ReAct(CHAT, tools=[]), [finish, answer]),
    }[program]
    lm = DummyLM(answers)

    assert made(question="So?", history=History(messages=TOLD), lm=lm).answer == "x"
    asked = [json.dumps(entry["messages"]) for entry in lm.history]
    assert all("Hi!" in text for text in asked)


# -- with tools ------------------------------------------------------------------------------------

ACT = Signature(
    {
        "question": InputField(),
        "history": (History, InputField()),
        "tools": (list[Tool], InputField()),
        "thought": OutputField(),
        "tool_calls": (ToolCalls, OutputField()),
    }
)
NATIVE = ChatAdapter(use_native_function_calling=True)
ASKED = ACT.delete("tools").delete("tool_calls")  # what the prompt asks where calls are native


def event(ids=("c1", "c2"), **more):
    calls = ToolCalls(
        tool_calls=[ToolCalls.ToolCall(id=i, name="f", args={"x": n}) for n, i in enumerate(ids)]
    )
    results = ToolCallResults.from_tool_calls_and_values(calls, [{"a": 1}, "two"])
    return {"tool_calls": calls.model_copy(update={"tool_call_results": results}), **more}


def test_native_calls_are_turns_as_the_provider_wants_them():
    told = [event(question="Who?", thought="I look.")]
    asked, called, one, two = messages(told, NATIVE, ASKED)[1:-1]

    assert (asked["role"], "Who?" in asked["content"]) == ("user", True)
    assert (called["role"], "I look." in called["content"]) == ("assistant", True)
    assert [(c["id"], c["function"]["arguments"]) for c in called["tool_calls"]] == [
        ("c1", '{"x": 0}'), ("c2", '{"x": 1}'),
    ]  # fmt: skip
    assert (one["role"], one["tool_call_id"], one["content"]) == ("tool", "c1", '{"a": 1}')
    assert (two["tool_call_id"], two["name"], two["content"]) == ("c2", "f", "two")


def test_native_calls_without_other_fields_have_no_content():
    called, *_ = messages([event()], NATIVE, ASKED)[1:-1]

    assert called["content"] is None


@pytest.mark.parametrize(
    "adapter", [ChatAdapter(), NATIVE, JSONAdapter()], ids=["chat", "native", "JSON"]
)
def test_calls_that_are_asked_for_in_the_text_are_shown_in_the_text(adapter):
    called, results = turns([event(thought="I look.")], adapter, ACT)

    assert (called[0], '{"name": "f", "args": {"x": 0}}' in called[1]) == ("assistant", True)
    assert (results[0], '"value": "two"' in results[1]) == ("user", True)
    assert ("tool_call_results" in called[1], "c1" in called[1]) == (False, False)


def test_calls_without_ids_are_shown_in_the_text():
    called, results = messages([event(ids=(None, None))], NATIVE, ASKED)[1:-1]

    assert ("tool_calls" in called, '"name": "f"' in called["content"]) == (False, True)
    assert results["content"].startswith("[[ ## tool_call_results ## ]]\n")


def test_calls_come_back_from_saved_json():
    saved = json.loads(History(messages=[event(question="Who?")]).model_dump_json())

    assert messages(saved, NATIVE, ASKED) == messages([event(question="Who?")], NATIVE, ASKED)


@pytest.mark.parametrize("damaged", [{"tool_calls": 3}, {"tool_calls": [{"x": 1}]}], ids=repr)
def test_damaged_calls_are_values_like_others(damaged):
    assert turns([{"question": "Hi!", "tool_calls": damaged}], NATIVE, ASKED) == [
        ("user", messages(None, NATIVE, ASKED, question="Hi!")[-1]["content"])
    ]
