"""`LM` and its cache over real HTTP: what is asked again, and what an answer from it says."""

from __future__ import annotations

import asyncio
import logging
import math

import pydantic
import pytest

import nbtool
from nbtool.errors import LMServerError
from nbtool.lm.base import BaseLM
from nbtool.lm.client import LM
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = [
    pytest.mark.api("LM.cache"),
    pytest.mark.filterwarnings("ignore:Unclosed"),  # litellm makes a client for each text request
    pytest.mark.filterwarnings("ignore:rollout_id"),
]

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
LOGPROBS = {"content": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}]}


class Capital(pydantic.BaseModel):
    name: str


class River(pydantic.BaseModel):
    name: str


async def test_what_was_asked_before_is_not_asked_again(connect):
    async with ScriptedServer(["Paris", "never"]) as server:
        lm = connect(server)
        answers = [await lm.acall("Capital?"), await lm.acall(prompt="Capital?")]

    assert answers == [["Paris"], ["Paris"]]
    assert len(server.requests) == 1


async def test_prompt_and_the_turn_that_it_stands_for_are_the_same_request(connect):
    async with ScriptedServer(["Paris", "never"]) as server:
        lm = connect(server, temperature=0.0)
        await lm.acall("Capital?")
        await lm.acall(messages=[{"role": "user", "content": "Capital?"}], temperature=0)

    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.7},
        {"max_tokens": 9},
        {"seed": 2},
        {"n": 2},
        {"rollout_id": 1, "temperature": 1.0},
        {"tools": [TOOL]},
        {"response_format": Capital},
        {"messages": [{"role": "user", "content": "x"}, {"role": "user", "content": "y"}]},
    ],
    ids=lambda options: next(iter(options)),
)
async def test_other_options_are_another_request(connect, options):
    async with ScriptedServer(default=Answer("{}")) as server:
        lm = connect(server)
        await lm.acall("x")
        await lm.acall(None if "messages" in options else "x", **options)

    assert len(server.requests) == 2


async def test_other_rollouts_are_other_requests_and_each_is_kept(connect):
    async with ScriptedServer(["first", "second", "never"]) as server:
        lm = connect(server, temperature=1.0)
        answers = [await lm.acall("x", rollout_id=n) for n in (1, 2, 1, 2)]

    assert answers == [["first"], ["second"], ["first"], ["second"]]
    assert all("rollout_id" not in request.fields for request in server.requests)


@pytest.mark.parametrize(
    ("at_zero", "said"),
    [
        pytest.param({"temperature": 0}, "rollout_id has no effect", id="zero"),
        pytest.param({}, "no temperature is set", id="unset"),
    ],
)
async def test_rollout_that_may_bring_the_same_answer_is_warned_of_once(connect, at_zero, said):
    async with ScriptedServer(default="x") as server:
        lm = connect(server, **at_zero)
        with pytest.warns(UserWarning, match=said) as warned:
            await asyncio.gather(*(lm.acall("x", rollout_id=n) for n in (1, 2, 3)))

    assert len(warned) == 1


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    ("model", "options"),
    [
        pytest.param("openai/test", {"temperature": 0.7, "rollout_id": 1}, id="samples"),
        pytest.param("openai/test", {"temperature": 0.0}, id="no rollout"),
        pytest.param("openai/o3", {"rollout_id": 1}, id="a reasoning model takes no temperature"),
    ],
)
async def test_other_rollouts_are_not_warned_of(api_key, model, options):
    async with ScriptedServer(["x"]) as server:
        lm = LM(model, api_base=server.base_url, api_key=api_key)
        assert await lm.acall("x", **options) == ["x"]


async def test_where_to_ask_and_who_pays_does_not_count(connect):
    async with ScriptedServer(["Paris"]) as server, ScriptedServer(["never"]) as other:
        await connect(server).acall("Capital?")
        lm = connect(other, api_key="sk-another-0123456789", base_url=other.base_url)
        assert await lm.acall("Capital?") == ["Paris"]

    assert other.requests == []


async def test_classes_of_the_same_schema_and_name_are_the_same_request(connect):
    twin = pydantic.create_model("Capital", name=str)
    async with ScriptedServer(default=Answer("{}")) as server:
        lm = connect(server)
        await lm.acall("x", response_format=Capital)
        await lm.acall("x", response_format=twin)
        await lm.acall("x", response_format=River)

    assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("of_lm", "of_call"),
    [
        pytest.param({"cache": False}, {}, id="of the LM"),
        pytest.param({}, {"cache": False}, id="of the call"),
    ],
)
async def test_cache_false_neither_reads_nor_writes_nor_shares(connect, of_lm, of_call):
    async with ScriptedServer(default=Answer("x", delay_s=0.1)) as server:
        lm = connect(server, **of_lm)
        await asyncio.gather(*(lm.acall("x", **of_call) for _ in range(3)))
        await connect(server).acall("x")

    assert len(server.requests) == 4


async def test_cache_true_of_a_call_wins_over_the_lm(connect):
    async with ScriptedServer(["x", "never"]) as server:
        lm = connect(server, cache=False)
        answers = [await lm.acall("x", cache=True) for _ in range(2)]

    assert answers == [["x"], ["x"]]


async def test_hit_says_so_and_counts_nothing(connect):
    async with ScriptedServer(["Paris"]) as server:
        lm, recorder = connect(server), Recorder()
        with watching(recorder):
            await lm.acall("Capital?")
            await lm.acall("Capital?")

    asked, hit = recorder.records()
    assert (asked.usage["total_tokens"], "cache_hit" in asked.attributes) == (2, False)
    assert (hit.usage, hit.cost_usd, hit.attributes["cache_hit"]) == ({}, None, True)
    assert [entry["usage"].get("total_tokens") for entry in lm.history] == [2, None]
    assert lm.history[1]["cost"] is None
    assert lm.history[1]["response"].cache_hit is True


ANSWERS = {
    "text": (Answer("The capital is Paris. 🍌\n"), {}),
    "tool calls": (
        Answer("See:", tool_calls=[{"name": "f", "arguments": {"x": 1}, "id": "c1"}]),
        {"tools": [TOOL]},
    ),
    "reasoning": (Answer("Paris", reasoning="France, so Paris."), {}),
    "several choices": (Answer(["a", "b"]), {"n": 2}),
    "null": (Answer(None), {}),
    "cut off": (Answer("cut", finish_reason="length"), {}),
    "logprobs": (
        Answer(
            raw={
                "id": "1", "object": "chat.completion", "created": 1, "model": "test",
                "choices": [{
                    "index": 0, "finish_reason": "stop", "logprobs": LOGPROBS,
                    "message": {"role": "assistant", "content": "x"},
                }],
            }
        ),
        {"logprobs": True},
    ),
}  # fmt: skip


def as_plain(response):
    dumped = response.model_dump(mode="json")
    return {**dumped, "usage": None, "cache_hit": None}


@pytest.mark.parametrize(("answer", "options"), ANSWERS.values(), ids=ANSWERS)
async def test_answer_from_the_disk_is_the_whole_response(connect, answer, options):
    async with ScriptedServer([answer]) as server:
        lm = connect(server)
        asked = await lm.aforward("x", **options)
        nbtool.cache.flush()
        nbtool.cache.reset_memory_cache()
        hit = await lm.aforward("x", **options)

    assert (hit.cache_hit, hit.usage) == (True, {})
    assert as_plain(hit) == as_plain(asked)


async def test_fields_of_an_answer_from_the_cache_are_read_as_the_providers(connect):
    answer, options = ANSWERS["tool calls"]
    async with ScriptedServer([answer]) as server:
        lm = connect(server)
        await lm.acall("x", **options)
        (output,) = await lm.acall("x", **options)

    (call,) = output["tool_calls"]
    assert (call.function.name, call["function"]["arguments"]) == ("f", '{"x": 1}')
    assert lm.history[1]["response"].choices[0].message.content == output["text"] == "See:"


async def test_text_model_has_answers_of_its_own(connect):
    async with ScriptedServer(default="Paris") as server:
        await connect(server).acall("x")
        lm = connect(server, model_type="text")
        answers = [await lm.acall("x") for _ in range(2)]

    assert answers == [["Paris"], ["Paris"]]
    assert [request.path for request in server.requests] == [
        "/v1/chat/completions",
        "/v1/completions",
    ]


async def test_changing_an_answer_does_not_change_the_kept_one(connect):
    async with ScriptedServer([ANSWERS["tool calls"][0]]) as server:
        lm = connect(server)
        first = await lm.aforward("x")
        first.choices[0].message.content = "spoilt"
        second = await lm.aforward("x")
        second.choices[0].message.tool_calls.clear()
        third = await lm.aforward("x")

    assert third.choices[0].message.content == "See:"
    assert len(third.choices[0].message.tool_calls) == 1


@pytest.mark.parametrize("bad", [Failure(500), Answer(n_choices=0)], ids=["HTTP 500", "no choices"])
async def test_errors_are_not_kept(connect, bad):
    async with ScriptedServer([bad, "Paris"]) as server:
        lm = connect(server)
        with pytest.raises(LMServerError):
            await lm.acall("x")
        assert await lm.acall("x") == ["Paris"]


async def test_requests_with_images_are_kept(connect):
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "QUJD" * 100_000}}
    async with ScriptedServer(["A cat.", "never"]) as server:
        lm = connect(server)
        turns = [{"role": "user", "content": [{"type": "text", "text": "What?"}, image]}]
        answers = [await lm.acall(messages=turns) for _ in range(2)]

    assert answers == [["A cat."], ["A cat."]]


async def test_request_without_a_json_form_is_made_each_time(connect, caplog):
    caplog.set_level(logging.DEBUG, "nbtool")
    async with ScriptedServer(default="x") as server:
        lm = connect(server, metadata={"weight": math.inf, "made by": test_errors_are_not_kept})
        await asyncio.gather(lm.acall("x"), lm.acall("x"))

    assert len(server.requests) == 2
    assert caplog.text.count("A request is not cached: ") <= 1


async def test_answer_of_the_responses_api_is_kept_whole(connect):
    answer = Answer("See:", tool_calls=[{"name": "f", "arguments": {"x": 1}, "id": "c1"}])
    async with ScriptedServer([answer]) as server:
        lm = connect(server, model_type="responses")
        asked = await lm.acall("x")
        nbtool.cache.flush()
        nbtool.cache.reset_memory_cache()
        hit = await lm.acall("x")

    assert hit == asked
    assert hit[0]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x": 1}'}
    assert (lm.history[1]["usage"], lm.history[1]["response"].cache_hit) == ({}, True)


async def test_answer_of_a_users_transport_is_kept():
    class Counting:
        calls = 0

        async def complete(self, request):
            self.calls += 1
            usage = {"total_tokens": 5}
            return {"choices": [{"message": {"content": str(self.calls)}}], "usage": usage}

    lm = LM("openai/test")
    lm.transport = Counting()
    answers = [await lm.acall("x"), await lm.acall("x")]

    assert answers == [["1"], ["1"]]
    assert [entry["usage"] for entry in lm.history] == [{"total_tokens": 5}, {}]


async def test_hit_costs_nothing_of_a_budget(connect):
    async with ScriptedServer(["Paris", "never"]) as server:
        lm = connect(server)
        with nbtool.context(max_tokens_total=2):
            answers = [await lm.acall("x"), await lm.acall("x")]
            with pytest.raises(nbtool.BudgetError):
                await lm.acall("y")

    assert answers == [["Paris"], ["Paris"]]


async def test_hit_adds_nothing_to_the_usage_of_a_program(connect):
    async with ScriptedServer(["[[ ## answer ## ]]\nParis"]) as server:
        qa = nbtool.Predict("question -> answer")
        with nbtool.context(lm=connect(server), track_usage=True):
            asked, hit = [await qa.acall(question="Capital?") for _ in range(2)]

    assert asked.answer == hit.answer == "Paris"
    assert asked.get_lm_usage()["openai/test"]["completion_tokens"] > 0
    assert hit.get_lm_usage() == {}


async def test_a_users_own_lm_is_not_cached():
    class Counting(BaseLM):
        calls = 0

        async def aforward(self, prompt=None, messages=None, **kwargs):
            self.calls += 1
            return {"choices": [{"message": {"content": str(self.calls)}}], "usage": {}}

    lm = Counting("mine")

    assert [await lm.acall("x"), await lm.acall("x")] == [["1"], ["2"]]


async def test_dummy_lm_gives_its_answers_in_order():
    lm = DummyLM([{"answer": "1"}, {"answer": "2"}])

    assert await lm.acall("x") != await lm.acall("x")
