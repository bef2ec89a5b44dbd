"""What requests cost, over real HTTP: counted, limited, and nothing counted twice."""

from __future__ import annotations

import asyncio
import functools

import pytest

from nbtool.configuration import configure, context, settings
from nbtool.errors import BudgetError, LMServerError
from nbtool.lm import spending
from nbtool.lm.base import BaseLM
from nbtool.programs.predict import Predict
from nbtool.testing.answers import Answer, Failure
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

PRICED = {"input_cost_per_token": 0.01, "output_cost_per_token": 0.02}
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}  # 0.20 USD
ANSWER = Answer("x", usage=USAGE)
STREAM_WARNINGS = pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore::UserWarning")


@pytest.fixture
def connect(connect):
    """Each call makes its own request here, also where two are the same."""
    return functools.partial(connect, cache=False)


async def test_used_up_dollars_stop_the_next_request(connect):
    configure(max_usd=0.3)
    async with ScriptedServer(default=ANSWER) as server:
        lm = connect(server, **PRICED)
        await lm.acall("a")
        await lm.acall("b")
        with pytest.raises(BudgetError, match=r"0\.4 were spent of max_usd=0\.3"):
            await lm.acall("c")

    assert len(server.requests) == 2


async def test_used_up_tokens_stop_the_next_request(connect):
    configure(max_tokens_total=20)
    async with ScriptedServer(default=ANSWER) as server:
        lm = connect(server)
        await lm.acall("a")
        await lm.acall("b")
        with pytest.raises(BudgetError, match="30 were spent of max_tokens_total=20"):
            await lm.acall("c")

    assert len(server.requests) == 2


@STREAM_WARNINGS
@pytest.mark.parametrize("live", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("model_type", ["chat", "text", "responses"])
async def test_every_endpoint_is_counted(connect, model_type, live):
    usage = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
    answer = Answer("x", usage=usage if model_type == "responses" else USAGE)
    async with ScriptedServer([answer]) as server:
        lm = connect(server, model_type=model_type, **PRICED)
        with context(max_tokens_total=99, max_usd=9), watching(Recorder(wants_tokens=live)):
            await lm.acall("a")
            spent = settings.max_tokens_total.spent, round(settings.max_usd.spent, 6)

    assert spent == (15, 0.2)


async def test_answer_without_usage_counts_by_estimate(connect):
    async with ScriptedServer([Answer("four words are here", usage={})]) as server:
        lm = connect(server)
        with context(max_tokens_total=1_000):
            await lm.acall("a question of some words")
            assert 5 <= settings.max_tokens_total.spent <= 30


async def test_failed_attempts_cost_nothing_and_the_good_one_does(connect):
    async with ScriptedServer([Failure(429, retry_after=0), ANSWER]) as server:
        lm = connect(server, num_retries=1)
        with context(max_tokens_total=100):
            await lm.acall("a")
            assert settings.max_tokens_total.spent == 15


async def test_at_most_the_calls_under_way_go_beyond_the_budget(connect):
    configure(max_tokens_total=40)
    async with ScriptedServer(default=ANSWER) as server:
        lm = connect(server, max_concurrency=2)
        asked = [lm.acall(f"q{i}") for i in range(30)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)

    assert len(server.requests) <= 4  # three spend it, and one more is under way
    assert sum(isinstance(outcome, BudgetError) for outcome in outcomes) >= 26


async def test_refused_request_is_not_tried_again(connect):
    recorder = Recorder()
    async with ScriptedServer() as server:
        with context(max_usd=0), watching(recorder), pytest.raises(BudgetError):
            await connect(server, num_retries=3).acall("a")

    assert recorder.records()[0].attributes.get("retries") is None


async def test_program_stops_at_the_budget_and_does_not_fall_back():
    lm = DummyLM([{"answer": "Paris"}])
    with context(lm=lm, max_tokens_total=0), pytest.raises(BudgetError):
        await Predict("question -> answer").acall(question="Capital?")

    assert lm.history == []


async def test_lm_of_ones_own_is_counted_and_limited():
    class Mine(BaseLM):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            return {"choices": [{"message": {"content": prompt}}], "usage": USAGE}

    lm = Mine("mine")
    with context(max_tokens_total=15):
        await lm.acall("x")
        with pytest.raises(BudgetError, match="'mine' was not asked"):
            await lm.acall("x")


async def test_answer_that_cannot_be_used_is_paid_for_all_the_same(connect):
    nothing = Answer("x", n_choices=0, usage=USAGE)
    async with ScriptedServer([nothing]) as server:
        lm = connect(server)
        with context(max_tokens_total=100):
            with pytest.raises(LMServerError):
                await lm.acall("x")
            assert settings.max_tokens_total.spent == 15


async def test_model_without_a_known_price_is_warned_about_once(connect, caplog):
    spending._without_price.clear()
    async with ScriptedServer(default="x") as server:
        lm = connect(server)
        with context(max_usd=1):
            await lm.acall("a")
            await lm.acall("b")

    assert caplog.text.count("price of 'openai/test' is not known") == 1
    assert "max_tokens_total" in caplog.text


@pytest.mark.parametrize(
    ("request_", "tokens"),
    [
        pytest.param({"prompt": "x" * 40}, 10, id="prompt"),
        pytest.param({"messages": [{"content": "x" * 40}] * 2}, 20, id="messages"),
        pytest.param({"messages": [{"content": [{"text": "x" * 8}, {}]}]}, 2, id="parts"),
        pytest.param({"input": [{"content": [{"text": "x" * 8}]}]}, 2, id="responses"),
        pytest.param({"prompt": "x" * 4, "max_tokens": 100}, 101, id="max_tokens"),
        pytest.param({"prompt": "x" * 4, "max_completion_tokens": 9, "n": 3}, 28, id="n"),
        pytest.param({"messages": [{"content": None}]}, 0, id="no content"),
    ],
)  # fmt: skip
def test_tokens_are_estimated_by_characters(request_, tokens):
    assert spending.estimated_tokens(request_) == tokens
