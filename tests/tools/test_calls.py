"""`ToolCalls`: read, shown, executed; `ToolCallResults`."""

from __future__ import annotations

import asyncio
import json
import threading

import pydantic
import pytest

from nbtool.errors import (
    LMNotConfiguredError,
    LoopError,
    ToolArgumentsError,
    ToolError,
    ToolExecutionError,
    ToolNotFoundError,
)
from nbtool.programs.module import Module
from nbtool.signatures.types import Type
from nbtool.tools.calls import ToolCallResults, ToolCalls, call_as_dict
from nbtool.tools.tool import Tool
from nbtool.views.watching import trace

pytestmark = pytest.mark.api("ToolCalls")

Call = ToolCalls.ToolCall


class City(pydantic.BaseModel):
    name: str


def double(x: int) -> int:
    return 2 * x


async def double_later(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def where() -> str:
    return threading.current_thread().name


def fail():
    raise LookupError("lost")


def name_of(city: City) -> str:
    return city.name


class Function:
    name = "double"
    arguments = '{"x": 4}'


class Provided:
    id = "call_1"
    function = Function()


FORMS = {
    "ours": [{"name": "double", "args": {"x": 4}}],
    "arguments": [{"name": "double", "arguments": {"x": 4}}],
    "JSON text": [{"name": "double", "arguments": '{"x": 4}'}],
    "broken JSON text": [{"name": "double", "arguments": "{'x': 4"}],
    "nested": [{"type": "function", "function": {"name": "double", "arguments": '{"x": 4}'}}],
    "a dict of them": {"tool_calls": [{"name": "double", "args": {"x": 4}}]},
    "one alone": {"name": "double", "args": {"x": 4}},
}


@pytest.mark.parametrize("given", FORMS.values(), ids=FORMS)
def test_calls_are_read_in_all_forms_that_models_write(given):
    calls = ToolCalls.model_validate(given)

    assert [(call.name, call.args) for call in calls.tool_calls] == [("double", {"x": 4})]


@pytest.mark.parametrize(
    ("given", "args"),
    [({"name": "f"}, {}), ({"name": "f", "arguments": ""}, {}), ({"name": "f", "args": None}, {})],
    ids=["left out", "empty", "null"],
)
def test_call_without_arguments_has_none(given, args):
    assert ToolCalls.from_dict_list([given]).tool_calls[0].args == args


@pytest.mark.parametrize(
    ("given", "call_id"),
    [
        (Provided(), "call_1"),
        ({"id": "call_2", "function": {"name": "f", "arguments": "{}"}}, "call_2"),
        ({"id": "item", "call_id": "call_3", "name": "f", "arguments": "{}"}, "call_3"),
    ],
    ids=["object", "chat", "responses"],
)
def test_id_of_a_providers_call_is_kept(given, call_id):
    assert ToolCalls.from_dict_list([call_as_dict(given)]).tool_calls[0].id == call_id


@pytest.mark.parametrize(
    "given",
    ["f", 3, {}, {"tool_calls": 3}, [1], {"name": 3, "args": {}}, {"name": "f", "args": [1]},
     {"name": "f", "arguments": "no JSON"}],
    ids=json.dumps,
)  # fmt: skip
def test_what_is_no_call_is_refused(given):
    with pytest.raises(pydantic.ValidationError):
        ToolCalls.model_validate(given)


def test_half_characters_in_arguments_are_replaced():
    call = ToolCalls.from_dict_list([{"name": "f", "arguments": '{"x": "\\ud800"}'}]).tool_calls[0]

    assert call.args == {"x": "\ufffd"}


def test_calls_are_shown_as_models_write_them():
    calls = ToolCalls(tool_calls=[Call(id="call_1", name="double", args={"x": 4})])

    assert isinstance(calls, Type)
    assert calls.format() == {"tool_calls": [{"name": "double", "args": {"x": 4}}]}
    assert ToolCalls.model_validate(calls.format()).format() == calls.format()
    assert '{"tool_calls": [{"name": ' in ToolCalls.description()


def test_schema_for_models_has_neither_ids_nor_results():
    text = json.dumps(ToolCalls.model_json_schema())

    assert '"name"' in text
    assert [word in text for word in ('"id"', "tool_call_results", "description")] == [False] * 3


def test_saved_calls_come_back_with_their_ids_and_results():
    calls = ToolCalls(tool_calls=[Call(id="call_1", name="double", args={"x": 4})])
    calls.tool_call_results = ToolCallResults.from_tool_calls_and_values(calls, [8])
    loaded = ToolCalls.model_validate_json(calls.model_dump_json())

    assert loaded.tool_calls == calls.tool_calls
    assert ToolCallResults.model_validate(loaded.tool_call_results) == calls.tool_call_results


# -- executing -----------------------------------------------------------------------------------

PLACES = {
    "dict": {"double": double},
    "dict of tools": {"double": Tool(double)},
    "list of tools": [Tool(fail), Tool(double)],
    "list of functions": [fail, double],
    "renamed tool": [Tool(double_later, name="double")],
    "async function": {"double": double_later},
}


@pytest.mark.parametrize("functions", PLACES.values(), ids=PLACES)
def test_tool_is_found_where_it_is_given(functions):
    assert Call(name="double", args={"x": "4"}).execute(functions) == 8


@pytest.mark.parametrize("functions", PLACES.values(), ids=PLACES)
async def test_tool_is_awaited_where_it_is_given(functions):
    assert await Call(name="double", args={"x": 4}).aexecute(functions) == 8


def test_tool_is_looked_up_where_it_is_executed():
    def local(x: int) -> int:
        return x + 1

    assert Call(name="local", args={"x": 4}).execute() == local(4)
    assert Call(name="double", args={"x": 4}).execute() == 8


async def test_tool_is_looked_up_where_it_is_awaited():
    async def local(x: int) -> int:
        return x + 1

    assert await Call(name="local", args={"x": 4}).aexecute() == await local(4)


async def test_calls_are_awaited_together():
    both = ToolCalls.from_dict_list([{"name": "double_later", "args": {"x": x}} for x in (1, 2)])

    assert await asyncio.gather(*(call.aexecute() for call in both.tool_calls)) == [2, 4]


async def test_plain_tool_runs_here_or_in_a_worker_as_a_tool_does():
    call, here = Call(name="where", args={}), threading.current_thread().name

    assert call.execute([where]) == here
    assert await call.aexecute([where]) != here


def test_arguments_become_what_the_tool_takes():
    assert Call(name="name_of", args={"city": {"name": "Oslo"}}).execute() == "Oslo"


@pytest.mark.parametrize(
    "functions", [{}, [], [double], {"lost": 3}], ids=["no dict", "no list", "other", "no function"]
)
def test_tool_that_is_not_there_is_told(functions):
    with pytest.raises(
        ToolNotFoundError, match=r"Tool function 'lost' not found\. Please"
    ) as caught:
        Call(name="lost", args={}).execute(functions)

    assert isinstance(caught.value, ValueError)
    assert caught.value.hint


@pytest.mark.parametrize("name", ["len", "__import__", "PLACES", "nowhere"])
def test_builtins_and_values_are_no_tools_of_the_caller(name):
    with pytest.raises(ToolNotFoundError, match="execute"):
        Call(name=name, args={}).execute()


@pytest.mark.parametrize(
    "call",
    [lambda c: c.execute([fail]), lambda c: asyncio.run(c.aexecute([fail]))],
    ids=["execute", "aexecute"],
)
def test_error_of_a_tool_is_the_cause(call):
    with pytest.raises(ToolExecutionError, match="Error executing tool 'fail': lost") as caught:
        call(Call(name="fail", args={}))

    assert isinstance(caught.value, RuntimeError)
    assert isinstance(caught.value.__cause__, LookupError)


def test_wrong_arguments_are_the_cause():
    with pytest.raises(ToolError, match="Arg y is not in the tool's args") as caught:
        Call(name="double", args={"y": 1}).execute([double])

    assert isinstance(caught.value.__cause__, ToolArgumentsError)


@pytest.mark.parametrize("error", [LoopError("misused"), LMNotConfiguredError("no LM")], ids=repr)
def test_mistake_in_the_program_is_raised_as_it_is(error):
    def misuse():
        raise error

    with pytest.raises(type(error)) as caught:
        Call(name="misuse", args={}).execute([misuse])

    assert caught.value is error


# -- executing all of them -------------------------------------------------------------------------


def calls_of(*named):
    return ToolCalls(
        tool_calls=[Call(id=f"c{n}", name=f, args=a) for n, (f, a) in enumerate(named)]
    )


def by_execute(calls, functions=None):
    return calls.execute(functions)


def by_aexecute(calls, functions=None):
    return asyncio.run(calls.aexecute(functions))


def by_execute_in_a_loop(calls, functions=None):
    async def inside():
        return calls.execute(functions)

    return asyncio.run(inside())


FORMS_OF_CALL = pytest.mark.parametrize("run", [by_execute, by_aexecute, by_execute_in_a_loop])


@FORMS_OF_CALL
def test_results_come_in_the_order_of_the_calls(run):
    async def slow(turns: int) -> int:
        await asyncio.sleep(turns / 100)
        return turns

    results = run(calls_of(("slow", {"turns": 3}), ("double", {"x": 4})), [slow, double])

    assert isinstance(results, ToolCallResults)
    assert [(r.call_id, r.name, r.value, r.is_error) for r in results.tool_call_results] == [
        ("c0", "slow", 3, False),
        ("c1", "double", 8, False),
    ]


@FORMS_OF_CALL
def test_failure_of_one_call_is_its_result_and_the_others_have_theirs(run):
    calls = calls_of(("fail", {}), ("double", {"x": 4}), ("double", {"y": 1}), ("lost", {}))
    results = run(calls, [fail, double]).tool_call_results

    assert [result.is_error for result in results] == [True, False, True, True]
    assert results[0].value.startswith("Execution error in fail: \nTraceback")
    assert "LookupError: lost" in results[0].value
    assert "Arg y is not in the tool's args" in results[2].value
    assert results[3].value == "There is no tool 'lost'; there are ['fail', 'double']."


@FORMS_OF_CALL
def test_plain_tools_run_at_the_same_time(run):
    together = threading.Barrier(3, timeout=20)
    results = run(calls_of(*[("wait", {})] * 3), [together.wait])

    assert sorted(result.value for result in results.tool_call_results) == [0, 1, 2]


@FORMS_OF_CALL
def test_asynchronous_tools_run_at_the_same_time(run):
    second_is_here = asyncio.Event()

    async def first() -> str:
        return await asyncio.wait_for(second_is_here.wait(), 20)

    async def second() -> None:
        second_is_here.set()

    results = run(calls_of(("first", {}), ("second", {})), [first, second])

    assert [result.value for result in results.tool_call_results] == [True, None]


async def test_cancelling_ends_all_tools():
    ended, begun = [], asyncio.Event()

    async def wait_for_ever(n: int) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(n)

    calls = calls_of(("wait_for_ever", {"n": 0}), ("wait_for_ever", {"n": 1}))
    task = asyncio.create_task(calls.aexecute([wait_for_ever]))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert sorted(ended) == [0, 1]


@FORMS_OF_CALL
def test_mistake_in_the_program_ends_all_calls(run):
    ended = []

    async def wait_for_ever():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    async def misuse():
        raise LMNotConfiguredError("no LM")

    with pytest.raises(LMNotConfiguredError):
        run(calls_of(("wait_for_ever", {}), ("misuse", {})), [wait_for_ever, misuse])
    assert ended == [True]


async def test_tools_of_all_calls_are_looked_up_where_they_are_executed():
    def local(x: int) -> int:
        return x + 1

    calls = calls_of(("local", {"x": 1}), ("double", {"x": 1}), ("calls", {}), ("len", {}))
    called = calls.execute()
    awaited = await calls.aexecute()

    assert called == awaited
    assert [result.value for result in called.tool_call_results] == [
        local(1),
        2,
        "There is no tool 'calls'.",
        "There is no tool 'len'.",
    ]


def test_no_calls_have_no_results():
    assert ToolCalls(tool_calls=[]).execute([]).tool_call_results == []


def test_each_call_is_a_step_of_the_trace_below_the_one_that_makes_it():
    class Program(Module):
        async def aforward(self):
            return await calls_of(("double", {"x": 1}), ("fail", {})).aexecute([double, fail])

    with trace() as recorded:
        Program()()

    (root,) = recorded.roots
    steps = [(step.kind, step.name, step.status) for step in recorded.children(root)]
    assert sorted(steps) == [("tool", "double", "ok"), ("tool", "fail", "error")]


# -- results -------------------------------------------------------------------------------------


@pytest.mark.parametrize("as_list", [False, True], ids=["calls", "list"])
def test_results_stand_beside_their_calls(as_list):
    calls = ToolCalls(tool_calls=[Call(id="a", name="f", args={}), Call(name="g", args={})])
    given = calls.tool_calls if as_list else calls
    results = ToolCallResults.from_tool_calls_and_values(given, [1, "no"], [False, True])

    assert [(r.call_id, r.name, r.value, r.is_error) for r in results.tool_call_results] == [
        ("a", "f", 1, False),
        (None, "g", "no", True),
    ]


@pytest.mark.parametrize(
    ("values", "is_errors", "said"),
    [([], None, "`values` must have the same length"), ([1], [], "`is_errors` must have")],
    ids=["values", "errors"],
)
def test_results_that_do_not_match_are_refused(values, is_errors, said):
    calls = ToolCalls.from_dict_list([{"name": "f", "args": {}}])
    with pytest.raises(ValueError, match=said):
        ToolCallResults.from_tool_calls_and_values(calls, values, is_errors)


@pytest.mark.parametrize("form", ["dict", "list", "one"])
def test_results_are_read_in_all_forms(form):
    one = {"name": "f", "value": 1}
    given = {"dict": {"tool_call_results": [one]}, "list": [one], "one": one}[form]

    assert ToolCallResults.model_validate(given).tool_call_results[0].value == 1
