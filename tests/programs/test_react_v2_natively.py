"""`ReActV2` by the provider's function calling, over HTTP."""

from __future__ import annotations

import asyncio
import json

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.errors import AdapterParseError, ToolArgumentsError
from nbtool.lm.client import LM
from nbtool.programs.react_v2 import ReActV2
from nbtool.runtime.door import run
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.server import ScriptedServer

pytestmark = [pytest.mark.api("ReActV2"), pytest.mark.api("ToolCalls")]

NATIVE = ChatAdapter(use_native_function_calling=True, parallel_tool_calls=True)
ADAPTERS = pytest.mark.parametrize("adapter", [NATIVE, JSONAdapter()], ids=repr)


def calling(*calls, text=None):
    asked = [{"name": n, "arguments": a, "id": f"id_{n}_{i}"} for i, (n, a) in enumerate(calls)]
    return Answer(text, tool_calls=asked)


TWICE = calling(("add", {"x": 1}), ("fail", {}))
SUBMIT = calling(("submit", {"answer": "42"}))


async def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return x + y


def fail() -> str:
    """Fail."""
    raise KeyError("no such thing")


def by_acall(agent, **inputs):
    return run(agent.acall(**inputs))  # on the loop that keeps the connections


def by_call(agent, **inputs):
    return agent(**inputs)


@pytest.fixture
def ask():
    """Ask an agent on scripted answers: its result, and what the server was sent."""

    def asked(*script, adapter=NATIVE, form=by_acall, model="openai/gpt-4o-mini", **inputs):
        agent = ReActV2("question -> answer", [add, fail])
        with ScriptedServer(script) as server:
            lm = LM(model, api_base=server.base_url, api_key="sk-test-1", num_retries=0)
            with context(lm=lm, adapter=adapter):
                result = form(agent, question="What?", **inputs)
        return result, [request.fields for request in server.requests]

    return asked


@ADAPTERS
@pytest.mark.parametrize("form", [by_acall, by_call])
def test_model_calls_tools_until_it_submits(ask, adapter, form):
    result, sent = ask(TWICE, SUBMIT, adapter=adapter, form=form)

    assert (result.answer, result.termination_reason) == ("42", "submit")
    assert [tool["function"]["name"] for tool in sent[0]["tools"]] == ["add", "fail", "submit"]
    submit = sent[0]["tools"][2]["function"]["parameters"]
    assert (submit["required"], submit["properties"]["answer"]["type"]) == (["answer"], "string")


@ADAPTERS
def test_calls_and_results_are_turns_as_the_provider_wants_them(ask, adapter):
    _, (_, sent) = ask(TWICE, SUBMIT, adapter=adapter)
    _, asked, called, one, two, _ = sent["messages"]

    assert (asked["role"], "What?" in asked["content"]) == ("user", True)
    assert called["role"] == "assistant"
    assert [each["id"] for each in called["tool_calls"]] == ["id_add_0", "id_fail_1"]
    assert json.loads(called["tool_calls"][0]["function"]["arguments"]) == {"x": 1}
    assert [each["tool_call_id"] for each in (one, two)] == ["id_add_0", "id_fail_1"]
    assert (one["content"], "KeyError: 'no such thing'" in two["content"]) == ("2", True)


def test_adapter_asks_for_parallel_calls(ask):
    _, (sent,) = ask(SUBMIT)

    assert (sent["parallel_tool_calls"], sent["tool_choice"]) == (True, "auto")


def test_text_beside_the_calls_is_the_thought(ask):
    text = "[[ ## next_thought ## ]]\nI add.\n[[ ## completed ## ]]"
    result, (_, sent) = ask(calling(("add", {"x": 1}), text=text), SUBMIT)

    assert result.history.messages[0]["next_thought"] == "I add."
    assert "next_thought" not in result.history.messages[1]
    assert "I add." in sent["messages"][2]["content"]


def test_ids_that_the_provider_gives_twice_are_made_different(ask):
    twice = [{"name": "add", "arguments": {"x": x}, "id": "same"} for x in (1, 2)]
    result, (_, sent) = ask(Answer(tool_calls=twice), SUBMIT)

    ids = [each["id"] for each in sent["messages"][2]["tool_calls"]]
    assert ids == [each["tool_call_id"] for each in sent["messages"][3:5]] == ["same", "call_0_1"]
    assert result.answer == "42"


def test_conversation_goes_on_with_the_turns_of_the_provider(ask):
    first, _ = ask(TWICE, SUBMIT)
    _, (sent,) = ask(SUBMIT, history=first.history)

    roles = [turn["role"] for turn in sent["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "tool", "assistant", "tool", "user"]


@pytest.mark.parametrize("form", [by_acall, by_call])
def test_submit_is_forced_by_the_choice_of_the_tool(ask, form):
    result, sent = ask(TWICE, TWICE, SUBMIT, form=form, max_iters=2)

    assert (result.answer, result.termination_reason) == ("42", "forced_submit")
    choices = [each["tool_choice"] for each in sent]
    assert choices == ["auto", "auto", {"type": "function", "function": {"name": "submit"}}]


def test_model_that_answers_in_text_is_told_to_submit(ask):
    text = "[[ ## next_thought ## ]]\nIt is 42.\n[[ ## completed ## ]]"
    result, sent = ask(text, SUBMIT)

    assert (result.answer, result.termination_reason) == ("42", "forced_submit")
    assert sent[1]["tool_choice"]["function"] == {"name": "submit"}


def test_effort_of_thinking_is_not_asked_for_where_a_tool_is_forced(ask):
    config = {"reasoning_effort": "low", "allowed_openai_params": ["reasoning_effort"]}
    _, sent = ask(TWICE, SUBMIT, max_iters=1, config=config)

    assert [each.get("reasoning_effort") for each in sent] == ["low", None]


def test_forced_submit_that_does_not_fit_is_raised(ask):
    with pytest.raises(ToolArgumentsError, match="outputs are missing: answer"):
        ask(calling(("submit", {})), max_iters=0)


def test_forced_answer_that_cannot_be_read_is_raised(ask):
    broken = Answer(tool_calls=[{"name": "submit", "arguments": "no JSON"}])
    with pytest.raises(AdapterParseError):
        ask(broken, broken, broken, max_iters=0)


def test_model_without_function_calling_writes_its_calls(ask):
    idle, submit = (
        f"[[ ## next_thought ## ]]\nt\n[[ ## tool_calls ## ]]\n{calls}"
        for calls in ("[]", '[{"name": "submit", "args": {"answer": "42"}}]')
    )
    result, sent = ask(idle, submit, model="openai/unknown")

    assert (result.answer, result.termination_reason) == ("42", "forced_submit")
    assert [{*each} & {"tools", "tool_choice", "parallel_tool_calls"} for each in sent] == [
        set()
    ] * 2


def test_conversation_that_grew_too_long_is_shortened(ask):
    too_long = Failure(400, code="context_length_exceeded")
    result, sent = ask(TWICE, calling(("add", {"x": 2})), too_long, SUBMIT)

    assert (result.answer, len(result.history.messages)) == ("42", 2)
    roles = [turn["role"] for turn in sent[3]["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user"]
    assert "What?" in sent[3]["messages"][1]["content"]
