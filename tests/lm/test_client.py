"""`LM` over real HTTP: what it sends, what it returns, what it remembers."""

from __future__ import annotations

import asyncio
import time

import pytest

from nbtool.errors import LMConfigurationError, LMServerError
from nbtool.lm.client import LM
from nbtool.testing.answers import Answer, Hang
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = pytest.mark.api("LM()")
TURNS = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi?"}]
HISTORY_KEYS = {
    "prompt", "messages", "kwargs", "response", "outputs", "usage", "cost", "timestamp", "uuid",
    "model", "response_model", "model_type",
}  # fmt: skip
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}


@pytest.mark.parametrize(
    ("args", "kwargs", "sent"),
    [
        pytest.param(("Hi?",), {}, [{"role": "user", "content": "Hi?"}], id="positional"),
        pytest.param((), {"prompt": "Hi?"}, [{"role": "user", "content": "Hi?"}], id="prompt"),
        pytest.param((), {"messages": TURNS}, TURNS, id="messages"),
        pytest.param((None, TURNS), {}, TURNS, id="positional messages"),
    ],
)
async def test_call_shapes_send_these_turns(connect, args, kwargs, sent):
    async with ScriptedServer(["Hello."]) as server:
        outputs = await connect(server).acall(*args, **kwargs)

    assert outputs == ["Hello."]
    assert server.requests[0].fields["messages"] == sent


async def test_options_of_the_call_win_over_the_models(connect):
    async with ScriptedServer(["a", "b"]) as server:
        lm = connect(server, temperature=0.1, seed=3)
        await lm.acall("x", temperature=0.9, max_tokens=7)
        await lm.acall("x")

    first, second = (request.fields for request in server.requests)
    assert (first["temperature"], first["max_tokens"], first["seed"]) == (0.9, 7, 3)
    assert (second["temperature"], "max_tokens" in second) == (0.1, False)


@pytest.mark.api("LM()")
async def test_none_takes_an_option_of_the_model_away(connect):
    async with ScriptedServer(["a"]) as server:
        await connect(server, temperature=0.1, seed=3).acall("x", temperature=None)

    sent = server.requests[0].fields
    assert ("temperature" in sent, sent["seed"]) == (False, 3)


@pytest.mark.filterwarnings("ignore:rollout_id")
@pytest.mark.parametrize("name", ["cache", "rollout_id", "num_retries"])
async def test_options_for_us_are_not_sent_to_the_provider(connect, name):
    async with ScriptedServer(["a"]) as server:
        await connect(server).acall("x", **{name: 1})

    assert set(server.requests[0].fields) == {"model", "messages"}


async def test_stream_is_refused_before_anything_is_sent(connect):
    async with ScriptedServer() as server:
        with pytest.raises(LMConfigurationError, match=r"trace\(live=True\)"):
            await connect(server).acall("x", stream=True)

    assert server.requests == []


async def test_several_choices_are_several_outputs(connect):
    async with ScriptedServer([Answer(["a", "b"])]) as server:
        assert await connect(server).acall("x", n=2) == ["a", "b"]

    assert server.requests[0].fields["n"] == 2


async def test_tool_calls_and_reasoning_are_part_of_the_output(connect):
    called = Answer("Let me see.", reasoning="Hm.", tool_calls=[{"name": "f", "arguments": {}}])
    async with ScriptedServer([called]) as server:
        (output,) = await connect(server).acall("x", tools=[TOOL])

    assert (output["text"], output["reasoning_content"]) == ("Let me see.", "Hm.")
    assert output["tool_calls"][0].function.name == "f"
    assert server.requests[0].fields["tools"] == [TOOL]


async def test_null_content_is_empty_text(connect):
    async with ScriptedServer([Answer(None)]) as server:
        assert await connect(server).acall("x") == [""]


async def test_answer_without_choices_is_an_error(connect):
    async with ScriptedServer([Answer("x", n_choices=0)]) as server:
        with pytest.raises(LMServerError, match="no choices"):
            await connect(server).acall("x")


async def test_text_models_get_a_prompt_at_their_own_endpoint(connect):
    async with ScriptedServer(["Paris"]) as server:
        lm = connect(server, model_type="text")
        assert await lm.acall("The capital of France is") == ["Paris"]

    assert server.requests[0].path == "/v1/completions"
    assert server.requests[0].fields["prompt"] == "The capital of France is"
    assert lm.history[0]["usage"]["prompt_tokens"] == 5


@pytest.mark.api("LM.history")
async def test_call_is_noted_in_the_history(connect, api_key):
    async with ScriptedServer(["Paris"]) as server:
        lm = connect(server, temperature=0.5)
        await lm.acall(messages=TURNS, seed=1)

    (entry,) = lm.history
    assert set(entry) == HISTORY_KEYS
    assert (entry["messages"], entry["outputs"]) == (TURNS, ["Paris"])
    assert entry["kwargs"] == {"temperature": 0.5, "max_tokens": None, "seed": 1}
    assert entry["usage"] == {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
    assert (entry["model"], entry["response_model"]) == ("openai/test", "test")
    assert api_key not in repr({**entry, "response": None})


async def test_call_is_a_step_with_usage(connect):
    recorder = Recorder()
    async with ScriptedServer(["Paris"]) as server:
        with watching(recorder):
            await connect(server).acall("Capital?")

    (step,) = recorder.records()
    assert (step.kind, step.name, step.output) == ("lm", "openai/test", ["Paris"])
    assert step.usage == {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
    assert step.attributes == {"model": "openai/test", "response_model": "test"}


@pytest.mark.parametrize("live", [False, True], ids=["whole", "streamed"])
async def test_cancelled_call_closes_its_connection_and_is_not_sent_again(connect, live):
    begun = Hang(400 if live else None, of=Answer("a b c d e f g h"))
    async with ScriptedServer(["warm", begun]) as server:
        lm = connect(server, num_retries=3)
        await lm.acall("x")
        with watching(Recorder(wants_tokens=live)):
            call = asyncio.create_task(lm.acall("y"))
        await server.wait_until(lambda: server.in_flight)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await server.wait_until(lambda: server.aborted, timeout_s=0.3)

    assert len(server.requests) == 2


async def test_fifty_calls_are_in_flight_at_once(connect):
    async with ScriptedServer(default=Answer("x", delay_s=0.3)) as server:
        lm = connect(server)
        started = time.perf_counter()
        outputs = await asyncio.gather(*(lm.acall(f"q{i}") for i in range(50)))
        took_s = time.perf_counter() - started

    assert outputs == [["x"]] * 50
    assert server.in_flight_peak >= 40
    assert took_s < 5
    assert len(lm.history) == 50


@pytest.mark.api("LM")
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        pytest.param({"model": ""}, "name of a model", id="no name"),
        pytest.param({"model": None}, "name of a model", id="None"),
        pytest.param({"model": "openai/x", "model_type": "image"}, "'image'", id="model type"),
        pytest.param({"model": "openai/o3", "temperature": 0.2}, "0.2", id="temperature"),
        pytest.param({"model": "openai/gpt-5", "max_tokens": 100}, "100", id="max_tokens"),
    ],
)
def test_contradicting_options_are_refused(arguments, said):
    with pytest.raises(LMConfigurationError, match=said) as caught:
        LM(**arguments)

    assert caught.value.hint


@pytest.mark.api("LM")
@pytest.mark.parametrize(
    "arguments",
    [
        {"model": "openai/o3", "temperature": 1.0},
        {"model": "openai/gpt-5-mini", "max_tokens": 16_000},
        {"model": "openai/gpt-5-chat-latest", "temperature": 0.2},
        {"model": "openai/gpt-4o-mini", "temperature": 0.0, "max_tokens": 1},
    ],
    ids=lambda arguments: arguments["model"],
)
def test_fitting_options_are_taken(arguments):
    assert LM(**arguments).model == arguments["model"]


@pytest.mark.api("LM")
async def test_reasoning_models_get_their_own_name_of_the_limit(api_key, connect):
    async with ScriptedServer(["x"]) as server:
        given = {"api_base": server.base_url, "api_key": api_key, "num_retries": 0}
        await LM("openai/o3-mini", max_tokens=20_000, **given).acall("x")

    assert server.requests[0].fields["max_completion_tokens"] == 20_000
