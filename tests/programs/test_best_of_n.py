"""`BestOfN` runs a program with other samples each time, and takes the best answer."""

from __future__ import annotations

import asyncio

import pytest

import nbtool
from nbtool.errors import InputError, LMServerError
from nbtool.lm.base import BaseLM
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.api("BestOfN")


def words(args, prediction):
    """Rate an answer by its length: the shorter the better."""
    return -len(prediction.answer.split())


def best_of(n, reward_fn=words, threshold=-1, **options):
    return nbtool.BestOfN(nbtool.Predict("question -> answer"), n, reward_fn, threshold, **options)


def answers(*texts):
    return DummyLM([{"answer": text} for text in texts])


async def test_first_answer_that_is_good_enough_is_taken(scripted):
    lm = scripted({"answer": "a b"}, {"answer": "a"}, {"answer": "b"})
    with nbtool.context(lm=lm):
        assert (await best_of(3).acall(question="?")).answer == "a"
    assert len(lm.asked) == 2


async def test_best_answer_is_taken_where_none_is_good_enough():
    with nbtool.context(lm=answers("a b c", "a b", "c d")):
        assert (await best_of(3).acall(question="?")).answer == "a b"


def test_synchronous_call_gives_the_same():
    with nbtool.context(lm=answers("a b", "a")):
        assert best_of(2)(question="?").answer == "a"


async def test_rewards_may_be_asynchronous_and_see_arguments_and_prediction():
    async def reward(args, prediction):
        await asyncio.sleep(0)
        return float(args["question"] == prediction.answer)

    with nbtool.context(lm=answers("a", "?")):
        assert (await best_of(2, reward, 1.0).acall(question="?")).answer == "?"


async def test_each_attempt_is_a_rollout_of_its_own_at_temperature_one(scripted):
    class Keeps(BaseLM):
        async def aforward(self, prompt=None, messages=None, **options):
            seen.append((self.kwargs.get("rollout_id"), self.kwargs.get("temperature")))
            return {"choices": [{"message": {"content": "[[ ## answer ## ]]\na b"}}]}

    seen = []
    with nbtool.context(lm=Keeps("keeps", rollout_id=5)):
        await best_of(3).acall(question="?")
    assert seen == [(5, 1.0), (6, 1.0), (7, 1.0)]


async def test_attempts_do_not_share_cached_answers_but_the_whole_search_is_cached():
    body = [Answer(f"[[ ## answer ## ]]\n{text}") for text in ("a b", "c d")]
    async with ScriptedServer(body) as server:
        lm = nbtool.LM("openai/x", api_base=server.base_url, api_key="any")
        with nbtool.context(lm=lm):
            found = [(await best_of(2).acall(question="?")).answer for _ in range(2)]
    assert found == ["a b", "a b"]
    assert len(server.requests) == 2


async def test_each_predictor_keeps_its_own_lm():
    class Two(nbtool.Module):
        def __init__(self):
            super().__init__()
            self.one = nbtool.Predict("question -> answer")
            self.two = nbtool.Predict("question -> answer")
            self.one.lm, self.two.lm = answers("1", "1"), answers("2 2", "2")

        async def aforward(self, question):
            await self.one.acall(question=question)
            return await self.two.acall(question=question)

    assert (await nbtool.BestOfN(Two(), 2, words, -1).acall(question="?")).answer == "2"


async def test_only_the_best_attempt_is_in_the_trace_of_the_settings():
    with nbtool.context(lm=answers("a b c", "a b", "c d e"), trace=[]):
        await best_of(3).acall(question="?")
        assert [prediction.answer for _, _, prediction in nbtool.settings.trace] == ["a b"]


async def test_failed_attempts_are_left_out(scripted, caplog):
    lm = scripted(LMServerError("down"), {"answer": "a"})
    with nbtool.context(lm=lm):
        assert (await best_of(2).acall(question="?")).answer == "a"
    assert "BestOfN: attempt 1 failed: down" in caplog.text


@pytest.mark.parametrize(("fail_count", "asked"), [(None, 3), (0, 1), (1, 2)], ids=str)
async def test_too_many_failures_raise_the_last_error(scripted, fail_count, asked):
    lm = scripted(*(LMServerError(f"down {n}") for n in range(3)))
    with nbtool.context(lm=lm), pytest.raises(LMServerError, match=f"down {asked - 1}"):
        await best_of(3, fail_count=fail_count).acall(question="?")
    assert len(lm.asked) == asked


async def test_failures_are_counted_for_each_call_alone(scripted):
    lm = scripted(*[LMServerError("down"), {"answer": "a"}] * 3)
    program = best_of(2, fail_count=1)
    with nbtool.context(lm=lm):
        assert [(await program.acall(question="?")).answer for _ in range(3)] == ["a"] * 3


async def test_a_reward_that_raises_is_a_failed_attempt():
    def picky(args, prediction):
        return 1 / (len(prediction.answer) - 1)

    with nbtool.context(lm=answers("a", "ab")):
        assert (await best_of(2, picky, 1.0).acall(question="?")).answer == "ab"


async def test_mistakes_in_the_program_are_raised_at_once():
    with pytest.raises(nbtool.LMNotConfiguredError):
        await best_of(3).acall(question="?")


async def test_attempts_can_run_at_once_and_what_is_not_needed_is_cancelled():
    async def answer(request):
        if len(server.requests) == 2:
            return Answer("[[ ## answer ## ]]\nshort")
        await asyncio.sleep(30)
        return Failure(500)

    async with ScriptedServer(respond=answer) as server:
        lm = nbtool.LM("openai/x", api_base=server.base_url, api_key="any", cache=False)
        with nbtool.context(lm=lm):
            assert (await best_of(4, concurrency=3).acall(question="?")).answer == "short"
        await server.wait_until(lambda: server.aborted == 2)
    assert len(server.requests) == 3


async def test_cancelling_the_search_ends_its_attempts():
    async with ScriptedServer(default=Answer("x", delay_s=30)) as server:
        lm = nbtool.LM("openai/x", api_base=server.base_url, api_key="any", cache=False)
        with nbtool.context(lm=lm):
            call = asyncio.ensure_future(best_of(4, concurrency=2).acall(question="?"))
            await server.wait_until(lambda: len(server.requests) == 2)
            call.cancel()
            await asyncio.wait([call])
        await server.wait_until(lambda: server.aborted == 2)
    assert call.cancelled()


async def test_attempts_are_steps_below_the_search():
    with nbtool.context(lm=answers("a b", "a")), nbtool.trace() as trace:
        await best_of(2).acall(question="?")
    (search,) = trace.roots
    assert [step.name for step in trace.children(search)] == ["Predict", "Predict"]


async def test_many_searches_at_once_keep_apart():
    class Echo(BaseLM):
        async def aforward(self, prompt=None, messages=None, **options):
            await asyncio.sleep(0)
            word = messages[-1]["content"].split("]]")[1].split()[0]
            return {"choices": [{"message": {"content": f"[[ ## answer ## ]]\n{word} x"}}]}

    program = best_of(3)
    with nbtool.context(lm=Echo("echo")):
        found = await asyncio.gather(*(program.acall(question=f"q{n}") for n in range(50)))
    assert [prediction.answer for prediction in found] == [f"q{n} x" for n in range(50)]


def test_state_is_that_of_the_program():
    assert list(best_of(2).dump_state()) == ["module"]


@pytest.mark.parametrize("n", [0, -1, 1.5, True, None], ids=str)
def test_a_number_of_attempts_that_is_none_is_refused(n):
    with pytest.raises(InputError, match="N must be a whole number >= 1"):
        best_of(n)
