"""What an `LM` is made of, what it says of itself, and how litellm is called."""

from __future__ import annotations

import asyncio
import copy
import inspect
import threading

import pytest

from nbtool.adapters.structured import JSONAdapter
from nbtool.configuration import context
from nbtool.errors import LMConfigurationError, LMInvalidRequestError
from nbtool.lm.client import LM
from nbtool.lm.litellm import loaded
from nbtool.lm.options import is_reasoning_model
from nbtool.programs.predict import Predict
from nbtool.testing.server import ScriptedServer

DSPYS = ["self", "model", "model_type", "temperature", "max_tokens", "cache", "callbacks",
         "num_retries", "provider", "finetuning_model", "launch_kwargs", "train_kwargs",
         "use_developer_role"]  # fmt: skip
ENDPOINTS = {
    "chat": ("acompletion", "messages"),
    "text": ("atext_completion", "prompt"),
    "responses": ("aresponses", "input"),
}


@pytest.fixture
async def litellm():
    return await loaded()


# -- the constructor -----------------------------------------------------------------------------


@pytest.mark.api("LM")
def test_positional_arguments_have_dspys_order():
    assert list(inspect.signature(LM.__init__).parameters)[: len(DSPYS)] == DSPYS


@pytest.mark.api("LM")
def test_defaults_are_dspys():
    lm = LM("openai/gpt-4o-mini")

    assert (lm.model_type, lm.cache, lm.num_retries) == ("chat", True, 3)
    assert lm.kwargs == {"temperature": None, "max_tokens": None}
    assert (lm.callbacks, lm.launch_kwargs, lm.train_kwargs, lm.provider) == ([], {}, {}, None)


@pytest.mark.api("LM")
@pytest.mark.parametrize(
    ("model", "is_one"),
    [
        ("openai/o1", True),
        ("o3-mini", True),
        ("azure/o4-mini", True),
        ("openai/o1-2024-12-17", True),
        ("openai/o5", True),
        ("openai/gpt-5", True),
        ("openai/gpt-5-nano", True),
        ("OpenAI/GPT-5.1-Codex", True),
        ("openai/gpt-5-chat-latest", False),
        ("openai/gpt-5.1-chat-latest", False),
        ("openai/gpt-4o", False),
        ("openai/gpt-50", False),
        ("ollama/olmo-2", False),
        ("openai/o2", False),
        ("together_ai/foo/o1-like", False),
    ],
)
def test_reasoning_models_are_known_by_their_name(model, is_one):
    assert is_reasoning_model(model) is is_one


@pytest.mark.api("LM")
@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"max_tokens": 15_999}], ids=str)
def test_reasoning_model_refuses_what_it_cannot_do_by_dspys_words(options):
    said = r"reasoning models require passing temperature=1\.0 or None and max_tokens >= 16000"
    with pytest.raises(LMConfigurationError, match=said) as caught:
        LM("openai/gpt-5", **options)

    assert isinstance(caught.value, ValueError)


@pytest.mark.api("LM")
async def test_limit_of_one_call_gets_a_reasoning_models_name_too(connect):
    async with ScriptedServer(["x"]) as server:
        await connect(server, model="openai/o3-mini").acall("x", max_tokens=20_000)

    sent = server.requests[0].fields
    assert (sent["max_completion_tokens"], "max_tokens" in sent) == (20_000, False)


@pytest.mark.api("LM")
@pytest.mark.parametrize("num_retries", [-1, 1.5, "3", True], ids=repr)
def test_retries_must_be_a_number_of_times(num_retries):
    with pytest.raises(LMConfigurationError, match="nonnegative integer"):
        LM("openai/test", num_retries=num_retries)
    with pytest.raises(LMConfigurationError, match="nonnegative integer"):
        LM("openai/test")("x", num_retries=num_retries)


@pytest.mark.api("LM")
@pytest.mark.parametrize("model", ["openai/", "/"])
def test_provider_without_a_model_is_refused(model):
    with pytest.raises(LMConfigurationError, match="name of a model"):
        LM(model)


# -- what it says of itself ----------------------------------------------------------------------


@pytest.mark.api("LM.copy")
@pytest.mark.parametrize(
    ("model", "calls", "thinks", "schema"),
    [
        ("openai/gpt-4o-mini", True, False, True),
        ("openai/o3-mini", True, True, True),
        ("openai/no-such-model", False, False, False),
        ("no-such-provider/x", False, False, False),
        ("local", False, False, True),
    ],
)
def test_abilities_come_from_the_table(model, calls, thinks, schema):
    lm = LM(model)

    assert lm.supports_function_calling is calls
    assert lm.supports_reasoning is thinks
    assert lm.supports_response_schema is schema


@pytest.mark.api("LM.copy")
def test_params_come_from_the_table():
    assert {"temperature", "tools", "response_format"} <= LM("openai/gpt-4o-mini").supported_params
    assert LM("no-such-provider/x").supported_params == set()
    assert "tools" not in LM("local").supported_params


@pytest.mark.api("LM.copy")
async def test_abilities_can_be_asked_on_a_loop():
    lm = LM("openai/gpt-4o-mini")
    await lm.ready()

    assert lm.supports_function_calling


@pytest.mark.api("LM.copy")
def test_copy_of_an_lm_is_one_with_other_options():
    lm = LM("openai/gpt-4o-mini", temperature=0.1, seed=1)
    twin = lm.copy(model="openai/gpt-4o", temperature=0.9, cache=False, seed=None)

    assert (twin.model, twin.cache, twin.kwargs["temperature"]) == ("openai/gpt-4o", False, 0.9)
    assert (lm.model, lm.cache, lm.kwargs["temperature"]) == ("openai/gpt-4o-mini", True, 0.1)
    assert ("seed" in twin.kwargs, lm.kwargs["seed"]) == (False, 1)
    assert (twin.limits, copy.deepcopy(lm).limits) == (lm.limits, lm.limits)


async def test_first_request_of_an_adapter_knows_what_the_model_can_do(connect):
    async with ScriptedServer(['{"answer": "Paris"}']) as server:
        with context(lm=connect(server, model="openai/gpt-4o-mini"), adapter=JSONAdapter()):
            await Predict("question -> answer").acall(question="Capital?")

    assert server.requests[0].fields["response_format"]["type"] == "json_schema"


# -- how litellm is called -----------------------------------------------------------------------


@pytest.mark.api("LM.forward")
@pytest.mark.parametrize("model_type", ENDPOINTS)
async def test_litellm_is_called_by_its_attributes(litellm, monkeypatch, model_type):
    name, asked = ENDPOINTS[model_type]
    calls = []

    async def patched(**sent):
        calls.append(sent)
        return {"choices": [{"message": {"content": "from the patch"}}]}

    monkeypatch.setattr(litellm, name, patched)
    lm = LM("openai/test", model_type, temperature=0.5, api_key="sk-0123456789ab")
    assert await lm.acall("Hi?", seed=1) == ["from the patch"]

    (sent,) = calls
    assert (sent["model"], sent["temperature"], sent["seed"]) == ("openai/test", 0.5, 1)
    assert sent["cache"] == {"no-cache": True, "no-store": True}
    assert (sent["num_retries"], sent["max_retries"], asked in sent) == (0, 0, True)
    assert sent["headers"]["User-Agent"].startswith("nbtool/")


@pytest.mark.api("LM.forward")
async def test_users_callbacks_of_litellm_are_told(litellm, monkeypatch, connect):
    from litellm.integrations.custom_logger import CustomLogger

    told = asyncio.Event()

    class Mine(CustomLogger):
        async def async_log_success_event(self, kwargs, response_obj, start_time, end_time):
            told.set()

    monkeypatch.setattr(litellm, "callbacks", [Mine()])
    async with ScriptedServer(["x"]) as server:
        await connect(server).acall("x")
        await asyncio.wait_for(told.wait(), 10)


@pytest.mark.api("LM.forward")
async def test_users_headers_are_kept(connect):
    async with ScriptedServer(default="x") as server:
        await connect(server, headers={"X-Team": "blue"}).acall("a")
        await connect(server, headers={"User-Agent": "mine/1"}).acall("b")

    first, second = (request.headers for request in server.requests)
    assert (first["x-team"], first["user-agent"][:7]) == ("blue", "nbtool/")
    assert second["user-agent"] == "mine/1"


@pytest.mark.api("LM.forward")
@pytest.mark.parametrize("model_type", ENDPOINTS)
async def test_aforward_returns_an_openai_like_response(connect, model_type):
    async with ScriptedServer(["Paris"]) as server:
        response = await connect(server, model_type=model_type).aforward("Capital?")

    assert response.model == "test"
    assert hasattr(response, "output" if model_type == "responses" else "choices")


@pytest.mark.api("LM.forward")
def test_forward_does_the_same_from_synchronous_code(connect):
    with ScriptedServer(["Paris"]) as server:
        response = connect(server).forward(messages=[{"role": "user", "content": "Capital?"}])

    assert response.choices[0].message.content == "Paris"


async def test_option_that_an_endpoint_does_not_know_is_an_invalid_request(connect):
    async with ScriptedServer(default="x") as server:
        with pytest.raises(LMInvalidRequestError, match="unexpected keyword argument 'tools'"):
            await connect(server, model_type="text", num_retries=3).acall("x", tools=[{}])


# -- from everywhere -----------------------------------------------------------------------------


@pytest.mark.api("LM()")
def test_lm_is_called_from_synchronous_code(connect):
    with ScriptedServer(["a", "b", "c"]) as server:
        lm = connect(server)
        answers = [lm("x"), lm(prompt="y"), lm(messages=[{"role": "user", "content": "z"}])]

    assert answers == [["a"], ["b"], ["c"]]
    assert [request.prompt for request in server.requests] == ["x", "y", "z"]


@pytest.mark.api("LM()")
async def test_lm_is_called_synchronously_inside_a_running_loop(connect):
    with ScriptedServer(["a"]) as server:
        assert connect(server)("x") == ["a"]


def test_one_lm_serves_many_threads_and_loops_at_once(connect):
    answers = []
    with ScriptedServer(respond=lambda request: request.prompt) as server:
        lm = connect(server)

        def ask(n):
            answers.extend(lm(f"sync {n}") + asyncio.run(lm.acall(f"async {n}")))

        threads = [threading.Thread(target=ask, args=(n,)) for n in range(8)]
        [thread.start() for thread in threads]
        [thread.join(60) for thread in threads]

    expected = [f"{kind} {n}" for kind in ("sync", "async") for n in range(8)]
    assert sorted(answers) == sorted(expected)
    assert len(lm.history) == 16
