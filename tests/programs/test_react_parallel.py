"""`ReAct(parallel_tool_calls=True)`: several tools in one turn, natively or in the text."""

from __future__ import annotations

import asyncio
import json

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.errors import ContextWindowExceededError, LMNotConfiguredError, SignatureError
from nbtool.lm.client import LM
from nbtool.programs.react import ReAct
from nbtool.programs.tool_turns import MOST_CALLS
from nbtool.runtime.door import run
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer
from nbtool.views.watching import trace

pytestmark = pytest.mark.api("ReAct.acall")

ANSWER = {"reasoning": "The tools said so.", "answer": "42"}


def call(name, **arguments):
    return {"name": name, "args": arguments}


def turn(thought, *calls):
    return {"next_thought": thought, "tool_calls": json.dumps({"tool_calls": list(calls)})}


FINISH = turn("Enough.", call("finish"))


async def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return x + y


def fail() -> str:
    """Fail."""
    raise KeyError("no such thing")


@pytest.fixture
def agent():
    return ReAct("question -> answer", tools=[add, fail], parallel_tool_calls=True)


def by_acall(agent, **inputs):
    return asyncio.run(agent.acall(**inputs))


def by_call(agent, **inputs):
    return agent(**inputs)


FORMS = pytest.mark.parametrize("form", [by_acall, by_call])


@FORMS
def test_calls_of_one_turn_stand_one_after_another_with_its_thought(agent, scripted, form):
    two = turn("I add twice.", call("add", x=1), call("add", x=2, y=3))
    result = form(agent, question="?", lm=scripted(two, FINISH, ANSWER))

    assert (result.answer, result.reasoning) == ("42", "The tools said so.")
    assert list(result.trajectory.items()) == [
        ("thought_0", "I add twice."), ("tool_name_0", "add"),
        ("tool_args_0", {"x": 1}), ("observation_0", 2),
        ("thought_1", "I add twice."), ("tool_name_1", "add"),
        ("tool_args_1", {"x": 2, "y": 3}), ("observation_1", 5),
        ("thought_2", "Enough."), ("tool_name_2", "finish"),
        ("tool_args_2", {}), ("observation_2", "Completed."),
    ]  # fmt: skip


@FORMS
def test_tools_of_one_turn_run_at_the_same_time(scripted, form):
    opened = asyncio.Event()

    async def wait() -> bool:
        return await asyncio.wait_for(opened.wait(), 20)

    async def open_() -> None:
        opened.set()

    agent = ReAct("question -> answer", [wait, open_], parallel_tool_calls=True)
    two = turn("Both.", call("wait"), call("open_"))
    trajectory = form(agent, question="?", lm=scripted(two, FINISH, ANSWER)).trajectory

    assert (trajectory["observation_0"], trajectory["observation_1"]) == (True, None)


def test_error_of_one_tool_is_an_observation_of_its_call_only(agent, scripted):
    three = turn("Try.", call("fail"), call("add", x=1), call("add"), call("lost"))
    lm = scripted(three, FINISH, ANSWER)
    trajectory = agent(question="?", lm=lm).trajectory
    seen = [trajectory[f"observation_{n}"] for n in range(4)]

    assert seen[0].startswith("Execution error in fail: \nTraceback")
    assert seen[1] == 2
    assert "Arg x is missing" in seen[2]
    assert "There is no tool 'lost'; there are ['add', 'fail', 'finish']" in seen[3]
    assert "no such thing" in lm.prompts[1]


def test_finish_beside_other_calls_is_the_last_turn(agent, scripted):
    last = turn("Add and be done.", call("finish"), call("add", x=1))
    result = agent(question="?", lm=scripted(last, ANSWER))

    assert (result.answer, result.trajectory["observation_1"]) == ("42", 2)


def test_turn_without_calls_is_the_last_one(agent, scripted):
    result = agent(question="?", lm=scripted(turn("I know."), ANSWER))

    assert (result.answer, result.trajectory) == ("42", {})


def test_most_turns_are_those_of_max_iters(agent, scripted):
    two = turn("Again.", call("add", x=1), call("add", x=2))
    result = agent(question="?", max_iters=2, lm=scripted(two, two, ANSWER))

    assert (result.answer, len(result.trajectory)) == ("42", 4 * 4)


def test_too_many_calls_in_one_turn_are_cut_with_a_warning(agent, scripted, caplog):
    many = turn("All.", *[call("add", x=n) for n in range(5 * MOST_CALLS)])
    result = agent(question="?", lm=scripted(many, FINISH, ANSWER))

    assert result.trajectory[f"tool_name_{MOST_CALLS}"] == "finish"
    assert f"the first {MOST_CALLS} of {5 * MOST_CALLS} tool calls" in caplog.text


def test_mistake_in_the_program_is_raised_and_ends_the_other_tools(scripted):
    ended = []

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def misuse():
        raise LMNotConfiguredError("no LM")

    agent = ReAct("question -> answer", [wait, misuse], parallel_tool_calls=True)
    with pytest.raises(LMNotConfiguredError):
        agent(question="?", lm=scripted(turn("Both.", call("wait"), call("misuse"))))
    assert ended == [True]


async def test_cancelling_ends_all_tools_of_the_turn(scripted):
    ended, begun = [], asyncio.Event()

    async def wait(n: int):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(n)

    agent = ReAct("question -> answer", [wait], parallel_tool_calls=True)
    lm = scripted(turn("Both.", call("wait", n=0), call("wait", n=1)))
    task = asyncio.create_task(agent.acall(question="?", lm=lm))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1]


def test_oldest_call_is_forgotten_when_the_prompt_is_too_long(agent, scripted):
    two = turn("Twice.", call("add", x=1), call("add", x=2))
    lm = scripted(two, ContextWindowExceededError("too long"), FINISH, ANSWER)
    result = agent(question="?", lm=lm)

    assert (next(iter(result.trajectory)), "observation_0" in lm.prompts[2]) == ("thought_1", False)


def test_each_tool_call_is_a_step_directly_below_the_agents(agent, scripted):
    two = turn("Twice.", call("add", x=1), call("fail"))
    with trace() as recorded:
        agent(question="?", lm=scripted(two, FINISH, ANSWER))

    (root,) = recorded.roots
    tools = [step.name for step in recorded.children(root) if step.kind == "tool"]
    assert (sorted(tools), len(recorded.find(kind="tool"))) == (["add", "fail", "finish"], 3)


@pytest.mark.parametrize("name", ["tools", "tool_calls", "next_thought", "max_iters"])
def test_names_that_this_form_needs_are_refused_in_it_only(name):
    with pytest.raises(SignatureError, match="ReAct needs the names"):
        ReAct(f"{name} -> answer", [], parallel_tool_calls=True)


def test_form_with_one_call_a_turn_may_have_these_fields():
    assert ReAct("tools, tool_calls -> answer", []).signature


def test_default_form_asks_as_before(scripted):
    lm = scripted({"next_thought": "t", "next_tool_name": "finish", "next_tool_args": {}}, ANSWER)
    native = ChatAdapter(use_native_function_calling=True, parallel_tool_calls=True)
    with context(adapter=native):
        ReAct("question -> answer", [add])(question="?", lm=lm)

    assert [options for _, options in lm.asked] == [{}, {}]


# -- by the provider's function calling ----------------------------------------------------------

NATIVE = ChatAdapter(use_native_function_calling=True, parallel_tool_calls=True)
TWICE = [
    {"name": "add", "arguments": {"x": 1}},
    {"name": "add", "arguments": {"x": 2, "y": 3}},
]
NATIVE_FINISH = Answer(tool_calls=[{"name": "finish", "arguments": {}}])
FINAL = Answer("[[ ## reasoning ## ]]\nr\n[[ ## answer ## ]]\n42\n[[ ## completed ## ]]")
FINAL_AS_JSON = Answer(json.dumps(ANSWER))


def asked_of(server, adapter, agent, *, awaited=False):
    lm = LM("openai/gpt-4o-mini", api_base=server.base_url, api_key="sk-test-1")
    with context(lm=lm, adapter=adapter):
        return run(agent.acall(question="?")) if awaited else agent(question="?")


@pytest.mark.parametrize("awaited", [True, False], ids=["acall", "call"])
@pytest.mark.parametrize(
    ("adapter", "final"), [(NATIVE, FINAL), (JSONAdapter(), FINAL_AS_JSON)], ids=["chat", "JSON"]
)
def test_tools_are_called_natively(agent, awaited, adapter, final):
    with ScriptedServer([Answer(tool_calls=TWICE), NATIVE_FINISH, final]) as server:
        result = asked_of(server, adapter, agent, awaited=awaited)

    seen = [result.trajectory[f"observation_{n}"] for n in range(3)]
    assert (result.answer, seen) == ("42", [2, 5, "Completed."])
    offered = [each["function"]["name"] for each in server.requests[0].fields["tools"]]
    assert offered == ["add", "fail", "finish"]
    assert "tools" not in server.requests[2].fields


def test_parallel_calls_are_asked_for_as_the_adapter_says(agent):
    with ScriptedServer([NATIVE_FINISH, FINAL]) as server:
        asked_of(server, NATIVE, agent)

    sent = server.requests[0].fields
    assert (sent["parallel_tool_calls"], sent["tool_choice"]) == (True, "auto")


def test_calls_of_the_provider_need_no_thought(agent):
    with ScriptedServer([Answer(tool_calls=TWICE[:1]), NATIVE_FINISH, FINAL]) as server:
        trajectory = asked_of(server, NATIVE, agent).trajectory

    assert (trajectory["thought_0"], trajectory["observation_0"]) == ("", 2)
    assert "[[ ## observation_0 ## ]]\n2" in server.requests[1].prompt


def test_text_beside_the_calls_is_the_thought(agent):
    text = "[[ ## next_thought ## ]]\nI add.\n[[ ## completed ## ]]"
    with ScriptedServer([Answer(text, tool_calls=TWICE), NATIVE_FINISH, FINAL]) as server:
        trajectory = asked_of(server, NATIVE, agent).trajectory

    assert [trajectory[f"thought_{n}"] for n in range(3)] == ["I add.", "I add.", ""]


def test_answer_without_calls_ends_the_search(agent):
    text = "[[ ## next_thought ## ]]\nI know it.\n[[ ## completed ## ]]"
    with ScriptedServer([text, FINAL]) as server:
        result = asked_of(server, NATIVE, agent)

    assert (result.answer, result.trajectory) == ("42", {})
