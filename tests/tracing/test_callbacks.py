"""Callbacks: told of every step, with the right parents, and never in the way."""

from __future__ import annotations

import asyncio
import logging

import pytest

from nbtool.adapters.chat import ChatAdapter
from nbtool.configuration import context
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.react import ReAct
from nbtool.runtime.threads import in_worker
from nbtool.testing.dummy import DummyLM
from nbtool.tools.tool import Tool
from nbtool.tracing.callbacks import ACTIVE_CALL_ID, BaseCallback, with_callbacks

pytestmark = pytest.mark.api("BaseCallback")

WATCHED = ["module", "lm", "tool", "adapter_format", "adapter_parse", "evaluate", "compile"]
PARIS = {"answer": "Paris"}


class Log(BaseCallback):
    """Keep what every handler is told."""

    def __init__(self):
        self.calls = []
        self.parents = {}
        self.names = {}

    @property
    def order(self):
        return [name for name, _ in self.calls]

    def told(self, name):
        return [given for told, given in self.calls if told == name]

    def parents_by_name(self):
        return {self.names[c]: self.names.get(parent) for c, parent in self.parents.items()}


def _handler(name, is_start):
    def handler(self, **given):
        self.calls.append((name, given))
        if is_start:
            self.parents[given["call_id"]] = ACTIVE_CALL_ID.get()
            shown = given["inputs"].get("kwargs", {}).get("name")
            self.names[given["call_id"]] = shown or type(given["instance"]).__name__

    return handler


for _watched in WATCHED:
    setattr(Log, f"on_{_watched}_start", _handler(f"{_watched}_start", is_start=True))
    setattr(Log, f"on_{_watched}_end", _handler(f"{_watched}_end", is_start=False))


class Pair(Module):
    def __init__(self):
        super().__init__()
        self.ask = Predict("question -> answer")

    async def aforward(self, name):
        return await asyncio.gather(Leaf().acall(name="left"), Leaf().acall(name="right"))


class Leaf(Module):
    async def aforward(self, name):
        await asyncio.sleep(0)
        return await Inner().acall(name=f"{name} inner")


class Inner(Module):
    async def aforward(self, name):
        await asyncio.sleep(0)
        return ACTIVE_CALL_ID.get()


class Failing(Module):
    async def aforward(self):
        raise ValueError("no")


@pytest.fixture
def log():
    return Log()


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_steps_of_a_predictor_are_told_in_order(log, call):
    ask = Predict("question -> answer")
    with context(callbacks=[log], lm=DummyLM([PARIS])):
        _ = ask(question="?") if call == "sync" else await ask.acall(question="?")

    assert log.order == [
        "module_start", "adapter_format_start", "adapter_format_end", "lm_start", "lm_end",
        "adapter_parse_start", "adapter_parse_end", "module_end",
    ]  # fmt: skip


async def test_module_handlers_get_instance_inputs_and_outputs(log):
    ask = Predict("question -> answer")
    with context(callbacks=[log], lm=DummyLM([PARIS])):
        answer = await ask.acall(question="?")

    (start,), (end,) = log.told("module_start"), log.told("module_end")
    assert start["instance"] is ask
    assert start["inputs"] == {"args": (), "kwargs": {"question": "?"}}
    assert start["call_id"] == end["call_id"]
    assert (end["outputs"], end["exception"]) == (answer, None)
    assert end["outputs"] is answer


async def test_positional_arguments_are_told_by_their_names(log):
    with context(callbacks=[log]):
        await Leaf().acall("left")

    assert log.told("module_start")[0]["inputs"] == {"args": (), "kwargs": {"name": "left"}}


async def test_lm_handlers_get_messages_options_and_answers(log):
    lm = DummyLM([PARIS])
    with context(callbacks=[log]):
        outputs = await lm.acall("?", temperature=0.5)

    (start,), (end,) = log.told("lm_start"), log.told("lm_end")
    assert start["instance"] is lm
    asked = {"prompt": "?", "messages": None, "kwargs": {"temperature": 0.5}}
    assert start["inputs"] == asked
    assert end["outputs"] == outputs


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_tool_handlers_get_arguments_and_result(log, call):
    tool = Tool(lambda x: 2 * x, name="double", args={"x": {}})
    with context(callbacks=[log]):
        _ = tool(x=4) if call == "sync" else await tool.acall(x=4)

    (start,), (end,) = log.told("tool_start"), log.told("tool_end")
    assert (start["instance"], start["inputs"]) == (tool, {"kwargs": {"x": 4}})
    assert end["outputs"] == 8


async def test_adapter_handlers_get_what_is_written_and_read(log):
    with context(callbacks=[log], lm=DummyLM([PARIS])):
        await Predict("question -> answer").acall(question="?")

    (written,), (read,) = log.told("adapter_format_start"), log.told("adapter_parse_start")
    assert isinstance(written["instance"], ChatAdapter)
    assert set(written["inputs"]) == {"signature", "demos", "inputs"}
    assert set(read["inputs"]) == {"signature", "completion"}
    assert log.told("adapter_format_end")[0]["outputs"][-1]["role"] == "user"
    assert log.told("adapter_parse_end")[0]["outputs"] == PARIS


async def test_failed_step_is_told_with_its_error(log):
    with context(callbacks=[log]), pytest.raises(ValueError, match="no") as caught:
        await Failing().acall()

    (end,) = log.told("module_end")
    assert (end["outputs"], end["exception"]) == (None, caught.value)


async def test_cancelled_step_is_told_with_its_cancellation(log):
    class Waiting(Module):
        async def aforward(self):
            await asyncio.sleep(60)

    with context(callbacks=[log]):
        task = asyncio.ensure_future(Waiting().acall())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])

    assert isinstance(log.told("module_end")[0]["exception"], asyncio.CancelledError)


async def test_parents_are_right_under_gather(log):
    with context(callbacks=[log]):
        await Pair().acall(name="root")

    assert log.parents_by_name() == {
        "root": None, "left": "root", "right": "root",
        "left inner": "left", "right inner": "right",
    }  # fmt: skip


async def test_id_inside_a_step_is_its_own(log):
    with context(callbacks=[log]):
        inside = await Inner().acall(name="one")

    assert inside == log.told("module_start")[0]["call_id"]
    assert ACTIVE_CALL_ID.get() is None


async def test_tools_in_worker_threads_have_the_agent_as_parent(log):
    def look(name: str) -> str:
        return name

    thought = {"next_thought": "…", "next_tool_name": "look", "next_tool_args": {"name": "x"}}
    done = {**thought, "next_tool_name": "finish", "next_tool_args": {}}
    lm = DummyLM([thought, done, {"reasoning": "…", "answer": "x"}])
    agent = ReAct("question -> answer", tools=[look])
    with context(callbacks=[log], lm=lm):
        await agent.acall(question="?")

    called = log.told("tool_start")
    assert [start["instance"].name for start in called] == ["look", "finish"]
    assert {log.names[log.parents[start["call_id"]]] for start in called} == {"ReAct"}


async def test_steps_of_a_worker_thread_have_the_right_parent(log):
    class Threaded(Module):
        def forward(self):
            return Inner()(name="inner")

    with context(callbacks=[log]):
        await Threaded().acall()
        await in_worker(lambda: Inner()(name="alone"))

    assert log.parents_by_name() == {"Threaded": None, "inner": "Threaded", "alone": None}


@pytest.mark.parametrize("owner", ["module", "lm", "adapter"])
async def test_own_callbacks_are_told_of_that_object_alone(log, owner):
    lm, adapter, ask = DummyLM([PARIS]), ChatAdapter(), Predict("question -> answer")
    {"module": ask, "lm": lm, "adapter": adapter}[owner].callbacks = [log]
    with context(lm=lm, adapter=adapter):
        await ask.acall(question="?")

    assert {name.split("_")[0] for name in log.order} == {owner}


async def test_callbacks_are_given_to_a_module_when_it_is_made(log):
    await Predict("question -> answer", callbacks=[log]).acall(question="?", lm=DummyLM([PARIS]))

    assert log.order == ["module_start", "module_end"]


async def test_callbacks_of_settings_and_of_the_object_are_both_told(log):
    module, other = Inner(), Log()
    module.callbacks = [other]
    with context(callbacks=[log]):
        await module.acall(name="x")

    assert log.order == other.order == ["module_start", "module_end"]


async def test_parent_is_the_nearest_step_that_is_watched(log):
    lm = DummyLM([PARIS])
    lm.callbacks = [log]
    await Predict("question -> answer").acall(question="?", lm=lm)

    assert log.parents_by_name() == {"DummyLM": None}


class Broken(BaseCallback):
    def on_module_start(self, call_id, instance, inputs):
        raise ZeroDivisionError

    def on_module_end(self, call_id, outputs, exception=None):
        raise KeyError("end")


async def test_what_a_handler_raises_is_logged_and_the_others_are_told(log, caplog):
    with context(callbacks=[Broken(), log]):
        assert await Inner().acall(name="x")

    assert log.order == ["module_start", "module_end"]
    texts = [record.getMessage() for record in caplog.records]
    assert ["ZeroDivisionError" in texts[0], "KeyError" in texts[1]] == [True, True]
    assert all("Error when calling callback" in text for text in texts)


async def test_object_without_the_handlers_is_logged_and_does_no_harm(caplog):
    with context(callbacks=[object()]):
        assert await Inner().acall(name="x")

    assert "on_module_start" in caplog.text


async def test_asynchronous_handler_is_told_to_be_synchronous(caplog):
    class Late(BaseCallback):
        async def on_module_start(self, call_id, instance, inputs): ...

    with context(callbacks=[Late()]):
        await Inner().acall(name="x")

    assert "handlers are synchronous" in caplog.text


async def test_handler_that_changes_its_inputs_changes_nothing_else(log):
    class Greedy(BaseCallback):
        def on_module_start(self, call_id, instance, inputs):
            inputs.pop("kwargs").clear()

    with context(callbacks=[Greedy(), log]):
        await Inner().acall(name="x")

    assert log.told("module_start")[0]["inputs"] == {"args": (), "kwargs": {"name": "x"}}


async def test_who_joins_while_a_step_runs_is_not_told_of_its_end(log):
    class Joining(Module):
        async def aforward(self):
            self.callbacks.append(log)

    await Joining().acall()

    assert log.calls == []


async def test_every_handler_can_be_left_out():
    with context(callbacks=[BaseCallback()], lm=DummyLM([PARIS])):
        assert (await Predict("question -> answer").acall(question="?")).answer == "Paris"


class Judge:
    """A user's own class."""

    def __init__(self, kind="module"):
        self.callback_kind = kind

    @with_callbacks
    def score(self, text, scale=10, *more, **options):
        """Say how good it is."""
        return Inner()(name="inner") and len(text)

    @with_callbacks
    async def ascore(self, text):
        return await Inner().acall(name="inner")


def test_decorated_method_is_told_with_all_its_arguments(log):
    judge = Judge()
    with context(callbacks=[log]):
        assert judge.score("abc", more=1) == 3

    start = log.told("module_start")[0]
    assert start["instance"] is judge
    inputs = {"text": "abc", "scale": 10, "more": (), "options": {"more": 1}}
    assert start["inputs"] == inputs
    assert log.parents_by_name() == {"Judge": None, "inner": "Judge"}


async def test_decorated_coroutine_method_is_told(log):
    with context(callbacks=[log]):
        await Judge().ascore("abc")

    assert log.parents_by_name() == {"Judge": None, "inner": "Judge"}
    assert log.order[0::3] == ["module_start", "module_end"]


@pytest.mark.parametrize("kind", ["evaluate", "compile"])
def test_object_can_say_which_handlers_watch_it(log, kind):
    with context(callbacks=[log]):
        Judge(kind).score("abc")

    assert (log.order[0], log.order[-1]) == (f"{kind}_start", f"{kind}_end")


def test_decorated_method_keeps_its_name_and_raises_its_errors(log):
    assert (Judge.score.__name__, Judge.score.__doc__) == ("score", "Say how good it is.")
    with context(callbacks=[log]), pytest.raises(TypeError, match="text"):
        Judge().score()

    assert log.calls == []


async def test_nobody_is_told_and_nothing_logged_without_callbacks(caplog):
    caplog.set_level(logging.DEBUG, "nbtool")
    assert await Inner().acall(name="x") is None
    assert caplog.text == ""
