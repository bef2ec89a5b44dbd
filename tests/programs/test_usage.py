"""Usage: tokens of every level, whoever made the requests and wherever."""

from __future__ import annotations

import asyncio
import contextvars
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from nbtool.configuration import configure, context
from nbtool.errors import AdapterParseError
from nbtool.lm.base import BaseLM
from nbtool.lm.client import LM
from nbtool.programs.chain_of_thought import ChainOfThought
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.programs.usage import UsageTracker, track_usage
from nbtool.runtime.threads import in_worker
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.server import ScriptedServer
from nbtool.tools.tool import Tool
from nbtool.tracing.boundary import current_span

pytestmark = pytest.mark.api("track_usage")

ONE = {"counting": {"prompt_tokens": 10, "completion_tokens": 1, "total_tokens": 11}}


class CountingLM(BaseLM):
    """Answer with one text; each request takes 10 tokens in and 1 out."""

    def __init__(self, text="[[ ## answer ## ]]\nParis", usage=None, **facts):
        super().__init__("counting")
        self.text = text
        self.usage = ONE["counting"] if usage is None else usage
        self.facts = facts

    async def aforward(self, prompt=None, messages=None, **options):
        await asyncio.sleep(0)
        if self.facts:
            current_span().annotate(**self.facts)
        return {"choices": [{"message": {"content": self.text}}], "usage": self.usage}


def times(number):
    return {"counting": {name: number * count for name, count in ONE["counting"].items()}}


class Ask(Module):
    """Ask some times; keep the predictions."""

    def __init__(self, number):
        super().__init__()
        self.number = number
        self.ask = Predict("question -> answer")

    async def aforward(self):
        calls = [self.ask.acall(question=str(i)) for i in range(self.number)]
        return Prediction(inner=await asyncio.gather(*calls))


class Nest(Module):
    """Run programs side by side; keep their predictions."""

    def __init__(self, *programs):
        super().__init__()
        self.programs = programs

    async def aforward(self):
        return Prediction(inner=await asyncio.gather(*[p.acall() for p in self.programs]))


class SyncAsk(Ask):
    def forward(self):
        return Prediction(inner=[self.ask(question=str(i)) for i in range(self.number)])

    async def aforward(self):
        return await in_worker(lambda: SyncAsk.forward(self))


@pytest.fixture(autouse=True)
def _tracking():
    with context(lm=CountingLM(), track_usage=True):
        yield


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_predictor_knows_its_tokens(call):
    ask = Predict("question -> answer")
    answer = ask(question="?") if call == "sync" else await ask.acall(question="?")

    assert answer.get_lm_usage() == ONE


async def test_every_level_knows_its_tokens_under_gather():
    outer = await Nest(Ask(3), Nest(Ask(1), Ask(2))).acall()
    three, nested = outer.inner

    assert outer.get_lm_usage() == times(6)
    assert (three.get_lm_usage(), nested.get_lm_usage()) == (times(3), times(3))
    assert [p.get_lm_usage() for p in three.inner] == [ONE] * 3
    assert [p.get_lm_usage() for p in nested.inner] == [times(1), times(2)]


@pytest.mark.parametrize("call", ["sync", "async"])
async def test_threads_of_a_program_count(call):
    program = SyncAsk(2)
    answer = program() if call == "sync" else await program.acall()

    assert answer.get_lm_usage() == times(2)
    assert [p.get_lm_usage() for p in answer.inner] == [ONE] * 2


async def test_pool_of_threads_that_copy_the_context_counts():
    class Pooled(Module):
        def forward(self):
            contexts = [contextvars.copy_context() for _ in range(8)]
            with ThreadPoolExecutor(4) as pool:
                inner = list(pool.map(lambda context: context.run(Ask(1)), contexts))
            return Prediction(inner=inner)

    answer = await Pooled().acall()

    assert answer.get_lm_usage() == times(8)
    assert [p.get_lm_usage() for p in answer.inner] == [ONE] * 8


async def test_what_runs_on_behind_a_program_counts_for_those_around():
    class Leaving(Module):
        async def aforward(self):
            return Prediction(task=asyncio.create_task(Ask(1).ask.acall(question="?")))

    class Around(Module):
        async def aforward(self):
            left = await Leaving().acall()
            await left.task
            return Prediction(left=left)

    answer = await Around().acall()

    assert (answer.left.get_lm_usage(), answer.get_lm_usage()) == ({}, ONE)


async def test_many_concurrent_calls_are_not_mixed_up():
    answers = await asyncio.gather(*[Ask(1 + i % 3).acall() for i in range(60)])

    assert [a.get_lm_usage() for a in answers] == [times(1 + i % 3) for i in range(60)]


async def test_program_that_passes_a_prediction_on_puts_its_own_sum_into_it():
    answer = await ChainOfThought("question -> answer").acall(
        question="?", lm=CountingLM("[[ ## reasoning ## ]]\nx\n[[ ## answer ## ]]\nParis")
    )

    assert answer.get_lm_usage() == ONE


async def test_requests_of_a_tool_count():
    class Agent(Module):
        async def aforward(self):
            tool = Tool(lambda: Predict("question -> answer")(question="?").answer, name="ask")
            return Prediction(answer=await tool.acall())

    assert (await Agent().acall()).get_lm_usage() == ONE


async def test_answer_that_could_not_be_read_counts_with_the_second_one():
    class Failing(Module):
        async def aforward(self):
            with pytest.raises(AdapterParseError):
                await Predict("question -> answer").acall(question="?", lm=CountingLM("dunno"))
            return Prediction()

    assert (await Failing().acall()).get_lm_usage() == times(2)


@pytest.mark.parametrize(
    "lm",
    [
        pytest.param(CountingLM(cache_hit=True), id="hit with the usage of then"),
        pytest.param(CountingLM(usage={}), id="hit without usage"),
        pytest.param(CountingLM(shared=True), id="answer of another call"),
    ],
)
async def test_cached_answers_count_nothing(lm):
    answer = await Predict("question -> answer").acall(question="?", lm=lm)

    assert answer.get_lm_usage() == {}


async def test_program_without_requests_used_nothing():
    assert (await Nest().acall()).get_lm_usage() == {}


async def test_nothing_is_counted_unless_asked_for():
    with context(track_usage=False):
        assert (await Ask(1).acall()).get_lm_usage() is None


async def test_tracking_can_be_configured_for_the_process():
    configure(track_usage=True)

    assert (await Ask(1).acall()).get_lm_usage() == ONE


async def test_retried_request_counts_once_and_details_are_kept():
    details = {"reasoning_tokens": 3, "audio_tokens": None}
    usage = {"prompt_tokens": 5, "completion_tokens": 4, "completion_tokens_details": details}
    text = "[[ ## answer ## ]]\nParis"
    answers = [Failure(500), Answer(text, usage=usage), Answer(text, usage=usage)]
    async with ScriptedServer(answers) as server:
        lm = LM("openai/test", api_base=server.base_url, api_key="sk-test-1", cache=False)
        with context(lm=lm):
            used = (await Ask(2).acall()).get_lm_usage()

    counted = used["openai/test"]
    assert (counted["prompt_tokens"], counted["completion_tokens"]) == (10, 8)
    assert counted["completion_tokens_details"]["reasoning_tokens"] == 6


async def test_program_that_returns_no_prediction_is_warned_about_once(caplog):
    class Text(Module):
        async def aforward(self):
            return "text"

    class Around(Module):
        async def aforward(self):
            return await Text().acall()

    assert await Around().acall() == "text"
    assert [r.getMessage()[:40] for r in caplog.records] == [
        "Failed to set LM usage: Around returned "
    ]


async def test_prediction_beside_a_trace_knows_its_tokens():
    class WithTrace(Module):
        async def aforward(self):
            return await Predict("question -> answer").acall(question="?"), ["trace"]

    prediction, _ = await WithTrace().acall()

    assert prediction.get_lm_usage() == ONE


# -- track_usage ---------------------------------------------------------------------------------


async def test_tracker_counts_what_is_asked_inside_its_block():
    with track_usage() as tracker:
        await asyncio.gather(Ask(2).acall(), Ask(1).acall())
    await Ask(1).acall()

    assert tracker.get_total_tokens() == times(3)
    assert len(tracker.usage_data["counting"]) == 3


async def test_tracker_counts_without_the_setting_and_an_lm_alone():
    with context(track_usage=False), track_usage() as tracker:
        await CountingLM().acall("?")

    assert tracker.get_total_tokens() == ONE


async def test_trackers_nest():
    with track_usage() as outer:
        await Ask(1).acall()
        with track_usage() as inner:
            await Ask(2).acall()

    assert (outer.get_total_tokens(), inner.get_total_tokens()) == (times(3), times(2))


async def test_tracker_inside_a_running_program_counts_its_block_alone():
    class Watched(Module):
        async def aforward(self):
            await Ask(1).acall()
            with track_usage() as tracker:
                await Ask(2).acall()
            return Prediction(tracked=tracker.get_total_tokens())

    answer = await Watched().acall()

    assert (answer.tracked, answer.get_lm_usage()) == (times(2), times(3))


async def test_tracker_counts_threads_that_inherit_the_context():
    with track_usage() as tracker:
        await asyncio.to_thread(Ask(1))
        await in_worker(Ask(1))
        other = threading.Thread(target=lambda: CountingLM()("?"))
        other.start()
        other.join()

    assert tracker.get_total_tokens() == times(2)


async def test_cancelled_request_counts_nothing():
    with track_usage() as tracker:
        task = asyncio.ensure_future(CountingLM().acall("?"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    assert tracker.get_total_tokens() == {}


def test_sums_add_counts_and_details_and_keep_the_rest():
    tracker = UsageTracker()
    tracker.add_usage("m", {"n": 1, "cost": 0.5, "own": True, "details": {"a": 1, "b": None}})
    tracker.add_usage("m", {"n": 2, "cost": 0.5, "own": True, "details": {"a": 2, "b": 3}})
    tracker.add_usage("m", {})

    total = {"n": 3, "cost": 1.0, "own": True, "details": {"a": 3, "b": 3}}
    assert tracker.get_total_tokens() == {"m": total}
    assert repr(tracker) == f"<UsageTracker {{'m': {total}}}>"


async def test_tracker_of_the_users_own_that_fails_is_logged(caplog):
    class Broken:
        def add_usage(self, lm, usage_entry):
            raise ZeroDivisionError

    with context(usage_tracker=Broken()):
        assert (await Ask(1).acall()).get_lm_usage() == ONE

    assert "ZeroDivisionError" in caplog.text


@pytest.mark.parametrize("usage", ["many", 3, [1], {"prompt_tokens": "ten"}])
async def test_usage_that_is_none_does_no_harm(usage):
    answer = await Predict("question -> answer").acall(question="?", lm=CountingLM(usage=usage))

    assert answer.answer == "Paris"


FORKING = """
import os, nbtool
from nbtool.programs import usage
from nbtool.testing import DummyLM
ask = nbtool.Predict("question -> answer")
usage._meter._lock.acquire()
if os.fork():
    os.wait()
else:
    with nbtool.context(lm=DummyLM([{"answer": "x"}]), track_usage=True):
        print(ask(question="?").get_lm_usage()["dummy"]["completion_tokens"], flush=True)
    os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this platform does not fork")
def test_forked_child_counts_though_a_thread_counted_in_the_parent():
    child = subprocess.run(  # noqa: S603 - our own script
        [sys.executable, "-c", FORKING], capture_output=True, text=True, timeout=60, check=False
    )

    assert (child.stdout, child.returncode) == ("11\n", 0), child.stderr
