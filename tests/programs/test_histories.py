"""History: of each module, of a context, of the process; and how it is shown."""

from __future__ import annotations

import asyncio
import io

import pytest

from nbtool.configuration import context, settings
from nbtool.lm.history import inspect_history, process_history
from nbtool.programs.in_flight import modules_in_flight
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.runtime.threads import in_worker
from nbtool.testing.dummy import DummyLM
from nbtool.tools.tool import Tool

HISTORY = pytest.mark.api("Module.history")
SHOWN = pytest.mark.api("inspect_history")


class Ask(Module):
    def __init__(self):
        super().__init__()
        self.ask = Predict("question -> answer")

    async def aforward(self, question):
        return await self.ask.acall(question=question)


class Both(Module):
    def __init__(self):
        super().__init__()
        self.first, self.second = Ask(), Ask()

    async def aforward(self):
        return await asyncio.gather(self.first.acall("one"), self.second.acall("two"))


class SyncAsk(Ask):
    def forward(self, question):
        return self.ask(question=question)

    aforward = None


@pytest.fixture(autouse=True)
def lm():
    lm = DummyLM({"": {"answer": "Paris"}})
    with context(lm=lm):
        yield lm


def asked(history):
    return [entry["messages"][-1]["content"].split("\n")[1] for entry in history]


def shown(show, *args):
    file = io.StringIO()
    show(*args, file=file)
    return file.getvalue()


@HISTORY
async def test_every_module_in_flight_keeps_the_requests_below_it(lm):
    both = Both()
    await both.acall()

    assert sorted(asked(both.history)) == ["one", "two"]
    assert (asked(both.first.history), asked(both.second.history)) == (["one"], ["two"])
    assert asked(both.first.ask.history) == ["one"]
    assert len(lm.history) == 2


@HISTORY
def test_entry_is_the_same_everywhere(lm):
    ask = Ask()
    ask("one")

    assert ask.history[-1] is ask.ask.history[-1] is lm.history[-1] is process_history[-1]


@HISTORY
async def test_requests_of_threads_and_tools_are_kept():
    class Agent(Module):
        def forward(self):
            Ask()("in a thread")
            return Tool(lambda: Ask()("in a tool").answer, name="ask")()

    agent = Agent()
    await agent.acall()
    agent()

    assert asked(agent.history) == ["in a thread", "in a tool"] * 2


@HISTORY
async def test_module_inside_itself_keeps_a_request_once():
    class Again(Ask):
        async def aforward(self, question, depth=2):
            if depth:
                return await self.acall(question, depth=depth - 1)
            return await self.ask.acall(question=question)

    again = Again()
    await again.acall("one")

    assert asked(again.history) == ["one"]


@HISTORY
def test_history_is_a_list_and_begins_empty():
    assert Ask().history == []


@HISTORY
def test_history_of_a_module_is_bounded_and_the_oldest_goes():
    ask = Ask()
    with context(max_history_size=2):
        [ask(question) for question in ("one", "two", "three")]

    assert asked(ask.history) == ["two", "three"]


@HISTORY
@pytest.mark.parametrize("off", [{"disable_history": True}, {"max_history_size": 0}])
def test_history_can_be_switched_off(off):
    ask = Ask()
    with context(**off):
        ask("one")

    assert ask.history == []


@HISTORY
def test_module_shows_its_own_requests_only():
    first, second = Ask(), Ask()
    first("one")
    second("two")

    assert "one" in shown(first.inspect_history)
    assert "two" not in shown(first.inspect_history, 5)


@HISTORY
def test_module_without_requests_says_so():
    assert shown(Ask().inspect_history) == "No request was made yet.\n"


# -- the context's -------------------------------------------------------------------------------


async def ask_apart(question):
    with context(history=[]):
        await Ask().acall(question)
        await asyncio.sleep(0)
        await in_worker(lambda: Ask()(f"{question} again"))
        return asked(settings.history), shown(inspect_history, 9)


@SHOWN
async def test_task_sees_its_own_requests_only():
    (one, one_shown), (two, _) = await asyncio.gather(ask_apart("one"), ask_apart("two"))

    assert (one, two) == (["one", "one again"], ["two", "two again"])
    assert "one again" in one_shown
    assert "two" not in one_shown


@SHOWN
async def test_history_of_a_context_has_the_requests_of_its_tasks():
    with context(history=[]) as _, context(num_threads=2):
        await asyncio.gather(Ask().acall("one"), Ask().acall("two"))
        kept = settings.history

    assert sorted(asked(kept)) == ["one", "two"]


@SHOWN
def test_history_of_a_context_is_bounded():
    with context(history=[], max_history_size=1):
        [Ask()(question) for question in ("one", "two")]
        assert asked(settings.history) == ["two"]


# -- shown ---------------------------------------------------------------------------------------


@SHOWN
@pytest.mark.parametrize(("n", "seen"), [(1, [False, True]), (2, [True, True]), (0, [False] * 2)])
def test_as_many_requests_are_shown_as_asked_for(n, seen):
    with context(history=[]):
        [Ask()(question) for question in ("Alpha?", "Omega?")]
        text = shown(inspect_history, n)

    assert ["Alpha?" in text, "Omega?" in text] == seen


@SHOWN
def test_requests_are_printed_to_standard_output_by_default(capsys):
    Ask()("What?")
    inspect_history()

    assert "user:" in capsys.readouterr().out


# -- modules in flight ---------------------------------------------------------------------------


class Looking(Module):
    async def aforward(self):
        return modules_in_flight(), settings.caller_modules, settings.caller_predict


class Holder(Module):
    def __init__(self):
        super().__init__()
        self.looking = Looking()

    async def aforward(self):
        return await self.looking.acall()


async def test_modules_in_flight_are_known_outermost_first():
    holder = Holder()
    in_flight, callers, predict = await holder.acall()

    assert in_flight == callers == [holder, holder.looking]
    assert predict is None
    assert (modules_in_flight(), settings.caller_modules) == ([], None)


def test_lm_knows_the_predictor_that_asks():
    class Curious(DummyLM):
        async def aforward(self, prompt=None, messages=None, **options):
            self.caller = settings.caller_predict
            return await super().aforward(prompt, messages, **options)

    ask, lm = Predict("question -> answer"), Curious([{"answer": "Paris"}])
    ask(question="?", lm=lm)

    assert lm.caller is ask
