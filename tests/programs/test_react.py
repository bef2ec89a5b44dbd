"""`ReAct`: tools in a loop, then the answer."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.configuration import context
from nbtool.errors import (
    AdapterParseError,
    ContextWindowExceededError,
    InputError,
    LMNotConfiguredError,
    LMRateLimitError,
    LoopError,
    SignatureError,
)
from nbtool.programs.predict import Predict
from nbtool.programs.react import ReAct
from nbtool.tools.tool import Tool

pytestmark = [pytest.mark.api("ReAct"), pytest.mark.api("ReAct.acall")]

ANSWER = {"reasoning": "The tool said so.", "answer": "42"}
TOO_LONG = ContextWindowExceededError("too long")


def use(tool, **arguments):
    return {
        "next_thought": f"I use {tool}.",
        "next_tool_name": tool,
        "next_tool_args": json.dumps(arguments),
    }


FINISH = use("finish")


async def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return x + y


def subtract(x: int, y: int) -> int:
    """Subtract two numbers."""
    return x - y


def thread_name() -> str:
    """Say where it runs."""
    return threading.current_thread().name


def fail(depth: int = 8) -> str:
    """Fail deep inside."""
    if depth:
        return fail(depth - 1)
    raise KeyError("no such thing")


@pytest.fixture
def agent():
    return ReAct("question -> answer", tools=[add, subtract, fail, Tool(thread_name)])


async def test_async_and_sync_tools_are_called_until_finish(agent, scripted):
    lm = scripted(use("add", x=40), use("subtract", x=50, y=8), FINISH, ANSWER)
    result = await agent.acall(question="?", lm=lm)

    assert (result.answer, result.reasoning) == ("42", "The tool said so.")
    assert result.trajectory == {
        "thought_0": "I use add.", "tool_name_0": "add", "tool_args_0": {"x": 40},
        "observation_0": 41,
        "thought_1": "I use subtract.", "tool_name_1": "subtract",
        "tool_args_1": {"x": 50, "y": 8}, "observation_1": 42,
        "thought_2": "I use finish.", "tool_name_2": "finish", "tool_args_2": {},
        "observation_2": "Completed.",
    }  # fmt: skip


@pytest.mark.parametrize("in_loop", [False, True], ids=["script", "running loop"])
def test_sync_call_equals_the_async_one(agent, scripted, in_loop):
    script = (use("add", x=40), use("fail", depth=0), FINISH, ANSWER)

    async def inside():
        return agent(question="?", lm=scripted(*script))

    awaited = asyncio.run(agent.acall(question="?", lm=scripted(*script)))
    called = asyncio.run(inside()) if in_loop else agent(question="?", lm=scripted(*script))
    assert list(called.trajectory) == list(awaited.trajectory)
    assert called.trajectory["observation_0"] == awaited.trajectory["observation_0"] == 41
    assert "KeyError" in called.trajectory["observation_1"]
    assert called.answer == awaited.answer == "42"


async def test_sync_tool_does_not_run_on_the_loop(agent, scripted):
    result = await agent.acall(question="?", lm=scripted(use("thread_name"), FINISH, ANSWER))

    assert result.trajectory["observation_0"] != threading.current_thread().name


def test_tools_may_be_functions_or_tools_and_finish_is_among_them(agent):
    assert list(agent.tools) == ["add", "subtract", "fail", "thread_name", "finish"]
    assert all(isinstance(tool, Tool) for tool in agent.tools.values())
    assert [name for name, _ in agent.named_predictors()] == ["react", "extract.predict"]
    assert isinstance(agent.react, Predict)


def test_prompt_describes_the_tools_and_shows_what_they_returned(agent, scripted):
    lm = scripted(use("add", x=40), FINISH, ANSWER)
    agent(question="What is 40+1?", lm=lm)

    first_system = lm.asked[0][0][0]["content"]
    assert "Add two numbers." in first_system
    assert '{"x": {"type": "integer"}' in first_system
    assert "[[ ## observation_0 ## ]]\n41" in lm.prompts[1]
    assert "[[ ## observation_0 ## ]]\n41" in lm.prompts[2]


def test_error_of_a_tool_is_an_observation_and_the_loop_goes_on(agent, scripted):
    lm = scripted(use("fail"), use("add", x=41), FINISH, ANSWER)
    trajectory = agent(question="?", lm=lm).trajectory

    seen = trajectory["observation_0"]
    assert seen.startswith("Execution error in fail: \nTraceback")
    assert "nbtool/" not in seen.replace("\\", "/").replace(
        __file__, ""
    )  # frames of ours tell it nothing
    assert "KeyError: 'no such thing'" in seen
    assert seen.count('File "') <= 5
    assert trajectory["observation_1"] == 42
    assert "no such thing" in lm.prompts[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [({"x": "many"}, "Arg x is invalid"), ({"z": 1}, "Arg z is not"), ({}, "Arg x is missing")],
    ids=["wrong type", "unknown", "missing"],
)
def test_wrong_arguments_are_an_observation(agent, scripted, arguments, said):
    result = agent(question="?", lm=scripted(use("add", **arguments), FINISH, ANSWER))

    assert said in result.trajectory["observation_0"]


def test_tool_that_does_not_exist_ends_the_loop_with_a_warning(agent, scripted, caplog):
    unknown = use("divide")
    lm = scripted(use("add", x=1), unknown, json.dumps(unknown), ANSWER)
    result = agent(question="?", lm=lm)

    assert result.answer == "42"
    assert "observation_1" not in result.trajectory
    assert [r.levelno for r in caplog.records] == [logging.WARNING]
    assert "'divide'" in caplog.text


@pytest.mark.parametrize(
    "error",
    [LoopError("misused"), LMNotConfiguredError("no LM"), SignatureError("bad"), InputError("bad")],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["async", "sync"])
def test_mistake_in_the_program_is_raised(scripted, error, kind):
    def broken():
        raise error

    async def broken_later():
        raise error

    tool = Tool(broken if kind == "sync" else broken_later, name="broken")
    with pytest.raises(type(error)) as caught:
        ReAct("question -> answer", tools=[tool])(question="?", lm=scripted(use("broken")))

    assert caught.value is error


def test_value_error_of_the_choice_ends_the_loop(agent, scripted, caplog):
    class Own(ChatAdapter):
        def parse(self, signature, completion):
            if "next_tool_name" in signature.output_fields:
                raise ValueError("not so")
            return super().parse(signature, completion)

    lm = scripted("rubbish", ANSWER)
    with context(adapter=Own(use_json_adapter_fallback=False)):
        assert agent(question="?", lm=lm).answer == "42"

    assert "not so" in caplog.text


async def test_tool_that_an_adapter_let_through_is_an_observation(agent, scripted):
    class Lax(ChatAdapter):
        def parse(self, signature, completion):
            found = super().parse(signature, completion)
            return {**found, "next_tool_name": "nowhere"} if "next_tool_name" in found else found

    with context(adapter=Lax()):
        result = await agent.acall(question="?", max_iters=1, lm=scripted(use("add", x=1), ANSWER))

    assert "There is no tool 'nowhere'; there are ['add'," in result.trajectory["observation_0"]


def test_long_error_of_a_tool_is_cut(scripted):
    def fail():
        raise ValueError("x" * 1_000_000)

    agent = ReAct("question -> answer", tools=[fail])
    seen = agent(question="?", lm=scripted(use("fail"), FINISH, ANSWER)).trajectory["observation_0"]

    assert len(seen) < 11_000
    assert seen.startswith("Execution error in fail: \nTraceback")


class UnprintableError(Exception):
    def __str__(self):
        raise RuntimeError("no text")


ERRORS = {
    "unprintable": UnprintableError(),
    "half character": KeyError("\ud800"),
    "group": ExceptionGroup("g", [OSError()]),
}


@pytest.mark.parametrize("error", ERRORS.values(), ids=ERRORS)
def test_any_error_of_a_tool_is_an_observation(scripted, error):
    def fail():
        raise error

    lm = scripted(use("fail"), FINISH, ANSWER)
    result = ReAct("question -> answer", tools=[fail])(question="?", lm=lm)

    assert result.trajectory["observation_0"].startswith("Execution error in fail: \n")
    assert "Traceback (most recent call last)" in result.trajectory["observation_0"]
    lm.prompts[-1].encode()


@pytest.mark.parametrize(
    "signature",
    ["trajectory -> answer", "question -> trajectory", "question, max_iters -> answer",
     "question, next_thought -> answer"],
)  # fmt: skip
def test_names_that_the_loop_needs_are_refused(signature):
    with pytest.raises(SignatureError, match="ReAct needs the names") as caught:
        ReAct(signature, tools=[])

    assert caught.value.hint == "Rename these fields."


@pytest.mark.parametrize("tools", [[add, Tool(subtract, name="add")], [Tool(add, name="finish")]],
                         ids=["twice", "finish"])  # fmt: skip
def test_two_tools_of_one_name_are_told(tools, caplog):
    agent = ReAct("question -> answer", tools=tools)

    assert f"two tools named {next(iter(agent.tools))!r}" in caplog.text
    assert "subtract" not in agent.tools


def test_own_reasoning_field_of_the_signature_is_kept(scripted):
    agent = ReAct("question -> reasoning: list[str], answer", tools=[])
    lm = scripted(FINISH, {"reasoning": '["a", "b"]', "answer": "42"})

    assert agent(question="?", lm=lm).reasoning == ["a", "b"]


def test_error_of_the_lm_is_raised(agent, scripted):
    with pytest.raises(LMRateLimitError):
        agent(question="?", lm=scripted(LMRateLimitError("slow")))


def test_unreadable_final_answer_is_raised(agent, scripted):
    with pytest.raises(AdapterParseError):
        agent(question="?", lm=scripted(FINISH, "dunno", "dunno"))


@pytest.mark.parametrize("where", ["module", "call"])
def test_loop_ends_after_max_iters(scripted, where):
    lm = scripted(use("add", x=1), use("add", x=2), ANSWER)
    own, call = (2, {}) if where == "module" else (20, {"max_iters": 2})
    agent = ReAct("question -> answer", tools=[add], max_iters=own)
    result = agent(question="?", lm=lm, **call)

    assert (result.answer, result.trajectory["observation_1"]) == ("42", 3)
    assert "thought_2" not in result.trajectory


def test_oldest_turn_is_forgotten_when_the_prompt_is_too_long(agent, scripted, caplog):
    script = (use("add", x=1), use("add", x=2), TOO_LONG, FINISH, ANSWER)
    lm = scripted(*script)
    result = agent(question="?", lm=lm)

    assert result.answer == "42"
    assert ("thought_0" in result.trajectory, "thought_1" in result.trajectory) == (False, True)
    assert "observation_0" in lm.prompts[2]
    assert "observation_0" not in lm.prompts[3]
    assert "oldest turn goes" in caplog.text


def test_prompt_that_is_too_long_with_one_turn_is_an_error(agent, scripted):
    with pytest.raises(ContextWindowExceededError, match="only one tool call") as caught:
        agent(question="?", lm=scripted(use("add", x=1), TOO_LONG, TOO_LONG))

    assert caught.value.hint


def test_answer_is_asked_for_where_only_the_list_of_tools_was_too_long(agent, scripted, caplog):
    result = agent(question="?", lm=scripted(use("add", x=41), TOO_LONG, ANSWER))

    assert (result.answer, result.trajectory["observation_0"]) == ("42", 42)
    assert "stopped asking for tools" in caplog.text


def test_turns_are_forgotten_three_times_at_most(agent, scripted):
    turns = [use("add", x=i) for i in range(9)]
    lm = scripted(*turns, *[TOO_LONG] * 8)
    with pytest.raises(ContextWindowExceededError):
        agent(question="?", lm=lm)

    assert len(lm.asked) == 9 + 4 + 4  # for the next tool, then for the answer


def test_truncation_can_be_of_the_users_own(scripted):
    class Forgetful(ReAct):
        def truncate_trajectory(self, trajectory):
            trajectory.clear()
            return trajectory

    lm = scripted(use("add", x=1), TOO_LONG, FINISH, ANSWER)
    result = Forgetful("question -> answer", tools=[add])(question="?", lm=lm)

    assert next(iter(result.trajectory)) == "thought_1"


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"\xff", {"a": object()}, lambda: 0, float("nan")],
    ids=["object", "set", "bytes", "object inside", "function", "nan"],
)
def test_tool_may_return_anything(scripted, value):
    def tool():
        return value

    result = ReAct("question -> answer", tools=[tool])(
        question="?", lm=scripted(use("tool"), FINISH, ANSWER)
    )
    assert result.trajectory["observation_0"] is value
    assert result.answer == "42"


async def test_cancel_reaches_the_tool(scripted):
    started, ended = asyncio.Event(), []

    async def slow():
        started.set()
        try:
            await asyncio.sleep(30)
        finally:
            ended.append("cancelled")

    agent = ReAct("question -> answer", tools=[slow])
    call = asyncio.create_task(agent.acall(question="?", lm=scripted(use("slow"))))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert ended == ["cancelled"]


def test_signature_with_several_fields_and_instructions_is_kept(scripted):
    agent = ReAct("question, language -> answer: int, sure: bool", tools=[add])
    lm = scripted(FINISH, {"reasoning": "r", "answer": 42, "sure": "true"})
    with context(lm=lm):
        result = agent(question="?", language="en")

    assert (result.answer, result.sure) == (42, True)
    assert "[[ ## language ## ]]\nen" in lm.prompts[0]
