"""`ReActV2`: tool calls as turns of a history, until the model submits."""

from __future__ import annotations

import asyncio
import json
import logging
import threading

import pydantic
import pytest

from nbtool.configuration import context
from nbtool.errors import (
    AdapterParseError,
    ContextWindowExceededError,
    InputError,
    LMNotConfiguredError,
    LMRateLimitError,
    SignatureError,
    ToolArgumentsError,
    ToolNotFoundError,
)
from nbtool.programs.react_v2 import ReActV2
from nbtool.programs.tool_turns import MOST_CALLS
from nbtool.signatures.fields import InputField, OutputField
from nbtool.signatures.signature import Signature
from nbtool.signatures.types import History
from nbtool.tools.tool import Tool
from nbtool.views.watching import trace

pytestmark = pytest.mark.api("ReActV2")

TOO_LONG = ContextWindowExceededError("too long")


def call(name, **arguments):
    return {"name": name, "args": arguments}


def turn(thought, *calls):
    return {"next_thought": thought, "tool_calls": json.dumps({"tool_calls": list(calls)})}


def submit(**outputs):
    return turn("Done.", call("submit", **outputs))


SUBMIT = submit(answer="42")
IDLE = turn("Hm.")


async def add(x: int, y: int = 1) -> int:
    """Add two numbers."""
    await asyncio.sleep(0)
    return x + y


def thread_name() -> str:
    """Say where it runs."""
    return threading.current_thread().name


def fail() -> str:
    """Fail."""
    raise KeyError("no such thing")


@pytest.fixture
def agent():
    return ReActV2("question -> answer", tools=[add, fail, Tool(thread_name)])


def by_acall(agent, **inputs):
    return asyncio.run(agent.acall(**inputs))


def by_call(agent, **inputs):
    return agent(**inputs)


def by_call_in_a_loop(agent, **inputs):
    async def inside():
        return agent(**inputs)

    return asyncio.run(inside())


FORMS = pytest.mark.parametrize("run", [by_acall, by_call, by_call_in_a_loop])


def results_of(result, at=0):
    return result.history.messages[at]["tool_calls"].tool_call_results.tool_call_results


def seen_of(result, at=0):
    return [(each.value, each.is_error) for each in results_of(result, at)]


# -- the loop ------------------------------------------------------------------------------------


@FORMS
def test_async_and_sync_tools_are_called_until_submit(agent, scripted, run):
    two = turn("I use both.", call("add", x=40), call("thread_name"))
    result = run(agent, question="?", lm=scripted(two, SUBMIT))

    assert (result.answer, result.termination_reason) == ("42", "submit")
    (added, _), (name, failed) = seen_of(result)
    assert (added, failed, name != threading.current_thread().name) == (41, False, True)


def test_history_has_a_turn_for_each_answer_of_the_model(agent, scripted):
    result = agent(question="?", lm=scripted(turn("I add.", call("add", x=1)), SUBMIT))

    first, last = result.history.messages
    assert list(first) == ["question", "next_thought", "tool_calls"]
    assert (first["question"], first["next_thought"]) == ("?", "I add.")
    assert first["tool_calls"].format() == {"tool_calls": [call("add", x=1)]}
    assert list(last) == ["next_thought", "tool_calls", "answer"]
    assert last["answer"] == "42"


def test_results_refer_to_the_ids_of_their_calls(agent, scripted):
    result = agent(question="?", lm=scripted(turn("t", *[call("add", x=1)] * 2), SUBMIT))

    ids = [each.id for each in result.history.messages[0]["tool_calls"].tool_calls]
    assert ids == [each.call_id for each in results_of(result)] == ["call_0_0", "call_0_1"]
    assert results_of(result, 1)[0].call_id == "call_1_0"


def test_prompt_shows_the_tools_and_what_they_returned(agent, scripted):
    lm = scripted(turn("I add.", call("add", x=40)), SUBMIT)
    agent(question="What is 40+1?", lm=lm)

    assert "Add two numbers." in lm.prompts[0]
    turns = [(each["role"], each["content"]) for each in lm.asked[1][0]]
    assert [role for role, _ in turns] == ["system", "user", "assistant", "user", "user"]
    assert "What is 40+1?" in turns[1][1]
    assert "I add." in turns[2][1]
    assert '"value": 41' in turns[3][1]
    assert "What is 40+1?" not in turns[4][1]


@FORMS
def test_tools_of_one_turn_run_at_the_same_time(scripted, run):
    opened = asyncio.Event()

    async def wait() -> bool:
        return await asyncio.wait_for(opened.wait(), 20)

    async def open_() -> None:
        opened.set()

    agent = ReActV2("question -> answer", [wait, open_])
    result = run(agent, question="?", lm=scripted(turn("t", call("wait"), call("open_")), SUBMIT))

    assert seen_of(result) == [(True, False), (None, False)]


def test_failure_of_one_call_is_its_result_and_the_others_have_theirs(agent, scripted):
    calls = (call("fail"), call("add", x=1), call("add", x="many"), call("lost"))
    lm = scripted(turn("t", *calls), SUBMIT)
    seen = seen_of(agent(question="?", lm=lm))

    assert [failed for _, failed in seen] == [True, False, True, True]
    assert seen[0][0].startswith("Execution error in fail: \nTraceback")
    assert "Arg x is invalid" in seen[2][0]
    assert "There is no tool 'lost'; there are ['add'," in seen[3][0]
    assert "no such thing" in json.dumps(lm.asked[1][0])


def test_submit_beside_other_calls_is_the_last_turn(agent, scripted):
    both = turn("t", call("submit", answer="42"), call("add", x=1))
    result = agent(question="?", lm=scripted(both))

    assert (result.answer, seen_of(result)) == ("42", [({"answer": "42"}, False), (2, False)])


def test_mistake_in_the_program_is_raised_and_ends_the_other_tools(scripted):
    ended = []

    async def wait():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def misuse():
        raise LMNotConfiguredError("no LM")

    agent = ReActV2("question -> answer", [wait, misuse])
    with pytest.raises(LMNotConfiguredError):
        agent(question="?", lm=scripted(turn("t", call("wait"), call("misuse"))))
    assert ended == [True]


async def test_cancelling_ends_all_tools_of_the_turn(scripted):
    ended, begun = [], asyncio.Event()

    async def wait(n: int):
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(n)

    lm = scripted(turn("t", call("wait", n=0), call("wait", n=1)))
    agent = ReActV2("question -> answer", [wait])
    task = asyncio.create_task(agent.acall(question="?", lm=lm))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sorted(ended) == [0, 1]


def test_each_tool_call_is_a_step_directly_below_the_agents(agent, scripted):
    two = turn("t", call("add", x=1), call("fail"))
    with trace() as recorded:
        agent(question="?", lm=scripted(two, SUBMIT))

    (root,) = recorded.roots
    tools = [step.name for step in recorded.children(root) if step.kind == "tool"]
    assert (root.name, sorted(tools)) == ("ReActV2", ["add", "fail", "submit"])


def test_too_many_calls_in_one_turn_are_cut_with_a_warning(agent, scripted, caplog):
    many = turn("All.", *[call("add", x=n) for n in range(3 * MOST_CALLS)])
    result = agent(question="?", lm=scripted(many, SUBMIT))

    assert len(results_of(result)) == MOST_CALLS
    assert f"the first {MOST_CALLS} of {3 * MOST_CALLS} tool calls" in caplog.text


@pytest.mark.parametrize(
    "value",
    [object(), {1, 2}, b"\xff", {"a": object()}, lambda: 0, float("nan"), "\ud800"],
    ids=["object", "set", "bytes", "object inside", "function", "nan", "half character"],
)
def test_tool_may_return_anything(scripted, value):
    def tool():
        return value

    result = ReActV2("question -> answer", [tool])(
        question="?", lm=scripted(turn("t", call("tool")), SUBMIT)
    )
    assert results_of(result)[0].value is value
    assert result.answer == "42"


# -- submitting ----------------------------------------------------------------------------------


class City(pydantic.BaseModel):
    name: str


TYPED = Signature(
    {
        "question": InputField(),
        "city": (City, OutputField(desc="where it is")),
        "degrees": (int, OutputField(ge=-90)),
        "sure": (bool, OutputField(default=True)),
    }
)


def test_outputs_have_their_types_and_defaults(scripted):
    agent = ReActV2(TYPED, [])
    result = agent(question="?", lm=scripted(submit(city={"name": "Oslo"}, degrees=3)))

    assert (result.city, result.degrees, result.sure) == (City(name="Oslo"), 3, True)


def test_submit_tells_what_the_outputs_are():
    args = ReActV2(TYPED, []).tools["submit"].args

    assert args["city"]["description"] == "where it is"
    assert args["city"]["properties"]["name"]["type"] == "string"
    assert args["degrees"]["minimum"] == -90


@pytest.mark.parametrize(
    ("outputs", "said"),
    [({"degrees": 3}, "outputs are missing: city"),
     ({"city": {"name": "Oslo"}, "degrees": "mild"}, "Arg degrees is invalid"),
     ({"city": {"name": "Oslo"}, "degrees": -99}, "Arg degrees is invalid")],
    ids=["missing", "wrong type", "limit"],
)  # fmt: skip
def test_submit_that_does_not_fit_can_be_repeated(scripted, outputs, said):
    right = submit(city={"name": "Oslo"}, degrees=3)
    result = ReActV2(TYPED, [])(question="?", lm=scripted(submit(**outputs), right))

    assert result.termination_reason == "submit"
    assert said in seen_of(result)[0][0]


def test_submit_that_was_made_to_give_no_outputs_does_not_end_the_loop(agent, scripted):
    agent.tools["submit"] = Tool(lambda answer: {"answer": answer} if answer == "42" else None)
    agent.tools["submit"].name = "submit"
    result = agent(question="?", lm=scripted(submit(answer="41"), SUBMIT))

    assert (result.answer, seen_of(result)) == ("42", [(None, False)])


def test_outputs_that_nobody_asked_for_are_left_out(agent, scripted):
    result = agent(question="?", lm=scripted(submit(answer="42", mood="good")))

    assert result.keys() == ["answer", "history", "termination_reason"]


# -- when the model does not submit --------------------------------------------------------------


@pytest.mark.parametrize("where", ["module", "call"])
def test_submit_is_forced_after_max_iters(scripted, where):
    own, given = (2, {}) if where == "module" else (20, {"max_iters": 2})
    lm = scripted(turn("t", call("add", x=1)), turn("t", call("add", x=2)), SUBMIT)
    result = ReActV2("question -> answer", [add], max_iters=own)(question="?", lm=lm, **given)

    assert (result.answer, result.termination_reason) == ("42", "forced_submit")
    assert len(result.history.messages) == 3
    systems = [asked[0]["content"] for asked, _ in lm.asked]
    assert ["call `submit` now" in text for text in systems] == [False, False, True]


def test_submit_is_forced_at_once_with_no_turns(agent, scripted):
    lm = scripted(SUBMIT)
    result = agent(question="What?", max_iters=0, lm=lm)

    assert result.termination_reason == "forced_submit"
    assert "What?" in lm.prompts[0]
    assert result.history.messages[0]["question"] == "What?"


def test_options_that_need_function_calling_are_not_sent_without_it(agent, scripted):
    lm = scripted(IDLE, SUBMIT)
    agent(question="?", config={"seed": 3}, lm=lm)

    assert [options for _, options in lm.asked] == [{"seed": 3}] * 2


def test_config_may_be_none(agent, scripted):
    assert agent(question="?", config=None, lm=scripted(IDLE, SUBMIT)).answer == "42"


@pytest.mark.parametrize(
    "answers", [(IDLE,), ("rubbish", "rubbish")], ids=["no calls", "unreadable"]
)
def test_submit_is_forced_where_the_loop_cannot_go_on(agent, scripted, answers):
    result = agent(question="?", lm=scripted(*answers, SUBMIT))

    assert (result.answer, result.termination_reason) == ("42", "forced_submit")


def test_unreadable_answer_ends_the_loop_with_a_warning(agent, scripted, caplog):
    agent(question="?", lm=scripted("rubbish", "rubbish", SUBMIT))

    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "ReActV2 stopped asking for tools, turn 0" in caplog.text


def test_other_calls_beside_a_forced_submit_are_not_made(agent, scripted):
    both = turn("t", call("fail"), call("submit", answer="42"))
    result = agent(question="?", max_iters=0, lm=scripted(both))

    assert [each.name for each in results_of(result)] == ["submit"]


FAILURES = {
    "no call": (IDLE, ToolNotFoundError, r"after 'max_iters' \(turn 0\).*called \[\]"),
    "other": (turn("t", call("add", x=1)), ToolNotFoundError, r"called \['add'\]"),
    "wrong": (submit(reply="42"), ToolArgumentsError, "outputs are missing: answer"),
}


@FORMS
@pytest.mark.parametrize(("answer", "kind", "said"), FAILURES.values(), ids=FAILURES)
def test_failure_of_the_forced_submit_is_raised(agent, scripted, run, answer, kind, said):
    with pytest.raises(kind, match=said) as caught:
        run(agent, question="?", max_iters=0, lm=scripted(answer))

    assert isinstance(caught.value, ValueError)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("error", "kind"),
    [("rubbish", AdapterParseError), (LMRateLimitError("slow"), LMRateLimitError)],
    ids=["unreadable", "LM"],
)
def test_error_of_the_forced_request_is_raised(agent, scripted, error, kind):
    with pytest.raises(kind):
        agent(question="?", lm=scripted(IDLE, error, error))


def test_error_of_the_lm_is_raised(agent, scripted):
    with pytest.raises(LMRateLimitError):
        agent(question="?", lm=scripted(LMRateLimitError("slow")))


def test_missing_lm_is_no_reason_to_force_a_submit(agent):
    with context(lm=None), pytest.raises(LMNotConfiguredError):
        agent(question="?")


# -- conversations -------------------------------------------------------------------------------

TOLD = [{"question": "First?", "answer": "41"}]


def test_conversation_goes_on_with_the_history_of_a_result(agent, scripted):
    first = agent(question="First?", lm=scripted(turn("t", call("add", x=1)), SUBMIT))
    lm = scripted(submit(answer="43"))
    second = agent(question="Second?", history=first.history, lm=lm)

    assert (second.answer, len(second.history.messages)) == ("43", 3)
    text = json.dumps(lm.asked[0][0])
    assert text.index("First?") < text.index("42") < text.index("Second?")
    assert results_of(second, 2)[0].call_id == "call_2_0"


def test_history_that_was_given_is_left_as_it_was(agent, scripted):
    told = History(messages=TOLD)
    result = agent(question="?", history=told, lm=scripted(SUBMIT))

    assert told == History(messages=TOLD)
    assert [each["question"] for each in result.history.messages] == ["First?", "?"]


@pytest.mark.parametrize("told", [TOLD, {"messages": TOLD}], ids=["list", "JSON"])
def test_turn_without_tool_calls_is_shown_with_its_answer(agent, scripted, told):
    lm = scripted(SUBMIT)
    agent(question="?", history=told, lm=lm)

    shown = [(each["role"], each["content"]) for each in lm.asked[0][0]]
    assert [role for role, _ in shown] == ["system", "user", "assistant", "user", "user"]
    assert '"answer": "41"' in shown[2][1]


def test_outputs_of_a_told_turn_may_be_objects(scripted):
    told = [{"question": "First?", "city": City(name="Oslo"), "degrees": 3}]
    lm = scripted(submit(city={"name": "Bergen"}, degrees=9))
    result = ReActV2(TYPED, [])(question="?", history=told, lm=lm)

    assert (result.city.name, result.history.messages[0]) == ("Bergen", told[0])
    assert '"name": "Oslo"' in lm.asked[0][0][2]["content"]


def test_history_comes_back_from_json(agent, scripted):
    first = agent(question="First?", lm=scripted(turn("t", call("add", x=1)), SUBMIT))
    saved = History.model_validate_json(first.history.model_dump_json())
    lm, again = scripted(SUBMIT), scripted(SUBMIT)
    agent(question="?", history=first.history, lm=lm)
    agent(question="?", history=saved, lm=again)

    assert again.asked == lm.asked


def test_what_is_no_history_is_told(agent, scripted):
    with pytest.raises(InputError, match="history of a conversation cannot be read"):
        agent(question="?", history=3, lm=scripted())


def test_default_of_an_input_is_shown_in_the_first_turn_only(scripted):
    signature = Signature({"question": InputField(default="Why?"), "answer": OutputField()})
    lm = scripted(turn("t", call("add", x=1)), SUBMIT)
    result = ReActV2(signature, [add])(lm=lm)

    assert ("Why?" in lm.prompts[0], "Why?" in lm.prompts[1]) == (True, False)
    assert result.history.messages[0]["question"] == "Why?"


def test_input_that_is_missing_is_told(agent, scripted, caplog):
    agent(lm=scripted(SUBMIT))

    assert "Missing: ['question']" in caplog.text


# -- prompts that grow too long ------------------------------------------------------------------


def test_oldest_turn_is_forgotten_and_the_question_stays(agent, scripted, caplog):
    turns = [turn("First.", call("add", x=1)), turn("Second.", call("add", x=2))]
    lm = scripted(*turns, TOO_LONG, SUBMIT)
    result = agent(question="What?", lm=lm)

    thoughts = [each["next_thought"] for each in result.history.messages]
    assert thoughts == ["Second.", "Done."]
    assert result.history.messages[0]["question"] == "What?"
    sent = json.dumps(lm.asked[3][0])
    assert ("What?" in sent, "First." in sent) == (True, False)
    assert "oldest turn goes" in caplog.text


def test_earlier_conversation_is_forgotten_first(agent, scripted):
    told = [{"question": "First?", "answer": "41"}, {"question": "Second?", "answer": "42"}]
    lm = scripted(TOO_LONG, SUBMIT)
    result = agent(question="Third?", history=told, lm=lm)

    assert [each["question"] for each in result.history.messages] == ["Second?", "Third?"]
    assert "First?" not in json.dumps(lm.asked[1][0])


def test_submit_is_forced_where_one_turn_is_too_long(agent, scripted, caplog):
    lm = scripted(turn("t", call("add", x=1)), TOO_LONG, SUBMIT)
    result = agent(question="?", lm=lm)

    assert (result.answer, result.termination_reason) == ("42", "forced_submit")
    assert "only one turn is left" in caplog.text


def test_prompt_that_stays_too_long_is_an_error(agent, scripted):
    with pytest.raises(ContextWindowExceededError, match="only one turn") as caught:
        agent(question="?", lm=scripted(turn("t", call("add", x=1)), TOO_LONG, TOO_LONG))

    assert caught.value.hint


def test_turns_are_forgotten_three_times_at_most(agent, scripted):
    turns = [turn("t", call("add", x=i)) for i in range(9)]
    lm = scripted(*turns, *[TOO_LONG] * 8)
    with pytest.raises(ContextWindowExceededError, match="too long"):
        agent(question="?", lm=lm)

    assert len(lm.asked) == 9 + 4 + 4  # for the next turn, then for the submit


def test_truncation_can_be_of_the_users_own(scripted):
    class Forgetful(ReActV2):
        def truncate_history(self, history):
            return History(messages=[])

    lm = scripted(turn("t", call("add", x=1)), TOO_LONG, SUBMIT)
    result = Forgetful("question -> answer", [add])(question="?", lm=lm)

    assert len(result.history.messages) == 1


# -- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "signature",
    ["history -> answer", "tools -> answer", "question -> history",
     "question -> termination_reason", "question, max_iters -> answer", "tool_calls -> answer"],
)  # fmt: skip
def test_names_that_the_loop_needs_are_refused(signature):
    with pytest.raises(SignatureError, match="ReActV2 needs the names") as caught:
        ReActV2(signature, tools=[])

    assert isinstance(caught.value, ValueError)
    assert caught.value.hint.startswith("Rename these fields.")


def test_field_for_the_history_is_not_needed_and_the_error_says_so():
    with pytest.raises(SignatureError, match="passed to the call as `history=`"):
        ReActV2("question, history -> answer", tools=[])


def test_output_may_be_called_tools(scripted):
    result = ReActV2("question -> tools", [])(question="?", lm=scripted(submit(tools="saw")))

    assert result.tools == "saw"


def test_tool_called_submit_is_refused():
    with pytest.raises(ToolArgumentsError, match="`submit` is the tool") as caught:
        ReActV2("question -> answer", [Tool(add, name="submit")])

    assert isinstance(caught.value, ValueError)


def test_two_tools_of_one_name_are_told(caplog):
    agent = ReActV2("question -> answer", [fail, Tool(add, name="fail")])

    assert "ReActV2 has two tools named 'fail'" in caplog.text
    assert (list(agent.tools), agent.tools["fail"].func) == (["fail", "submit"], add)


def test_state_of_the_predictor_is_saved_and_loaded(agent):
    agent.react.demos = [{"question": "?", "next_thought": "t"}]
    other = ReActV2("question -> answer", tools=[add, fail, Tool(thread_name)])
    other.load_state(agent.dump_state())

    assert [name for name, _ in other.named_predictors()] == ["react"]
    assert other.dump_state() == agent.dump_state()
