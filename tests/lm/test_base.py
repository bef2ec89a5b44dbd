"""A user's own `BaseLM`, and what all LMs have in common."""

from __future__ import annotations

import asyncio
import copy
import io
import threading
import time
from types import SimpleNamespace

import pytest
from pydantic import BaseModel

from nbtool.configuration import context
from nbtool.errors import LMServerError
from nbtool.lm import history
from nbtool.lm.base import BaseLM
from nbtool.lm.history import inspect_history, process_history
from nbtool.programs.predict import Predict
from nbtool.tracing.record import remember_secret


def as_dict(text, **choice):
    return {
        "model": "mine-1",
        "choices": [{"message": {"content": text}, "finish_reason": "stop", **choice}],
        "usage": {"prompt_tokens": 2, "completion_tokens": 1, "total_tokens": 3},
    }


def as_object(text):
    message = SimpleNamespace(content=text, tool_calls=None)
    usage = SimpleNamespace(prompt_tokens=2, completion_tokens=1, total_tokens=3)
    return SimpleNamespace(model="mine-1", choices=[SimpleNamespace(message=message)], usage=usage)


class Async(BaseLM):
    respond = staticmethod(as_dict)

    async def aforward(self, prompt=None, messages=None, **kwargs):
        asked = messages or [{"content": prompt}]
        return self.respond(asked[-1]["content"])


class Blocking(BaseLM):
    def forward(self, prompt=None, messages=None, **kwargs):
        time.sleep(0.2)
        return as_dict(threading.current_thread().name)


class Objects(Async):
    respond = staticmethod(as_object)


class CutOff(Async):
    respond = staticmethod(lambda text: as_dict(text, finish_reason="length"))


class Empty(Async):
    respond = staticmethod(lambda text: {"choices": []})


@pytest.mark.api("BaseLM")
@pytest.mark.parametrize("kind", [Async, Objects])
async def test_dict_and_object_responses_are_read_alike(kind):
    lm = kind("mine")

    assert await lm.acall("x") == ["x"]
    assert lm.history[0]["usage"]["total_tokens"] == 3
    assert lm.history[0]["response_model"] == "mine-1"


@pytest.mark.api("BaseLM")
def test_sync_call_of_an_async_lm_gives_the_same():
    assert Async("mine")("x") == ["x"]


@pytest.mark.api("BaseLM")
async def test_forward_runs_in_a_worker_thread_and_the_loop_goes_on():
    ticks = []

    async def tick():
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(0.01)

    ticker = asyncio.create_task(tick())
    (thread_name,) = await Blocking("mine").acall("x")
    ticker.cancel()

    assert thread_name != threading.main_thread().name
    assert len(ticks) >= 5


@pytest.mark.api("BaseLM")
def test_sync_call_of_a_blocking_lm_works():
    assert Blocking("mine")("x")


@pytest.mark.api("BaseLM")
def test_own_lm_works_with_predictors():
    class Echo(Async):
        respond = staticmethod(lambda text: as_dict("[[ ## answer ## ]]\nParis"))

    assert Predict("question -> answer")(question="?", lm=Echo("mine")).answer == "Paris"


@pytest.mark.api("BaseLM")
async def test_lm_without_logic_says_what_to_define():
    with pytest.raises(NotImplementedError, match="aforward"):
        await BaseLM("mine").acall("x")


@pytest.mark.parametrize("response", [None, {}, [], "text", 5, {"choices": "x"}, {"output": 1}])
async def test_what_is_no_response_is_an_error(response):
    class Odd(Async):
        respond = staticmethod(lambda text: response)

    with pytest.raises(LMServerError, match="no choices"):
        await Odd("mine").acall("x")


async def test_response_without_choices_is_an_error():
    with pytest.raises(LMServerError, match="'mine' gave no answer"):
        await Empty("mine").acall("x")


@pytest.mark.api("LM.truncation")
async def test_answer_that_was_cut_off_is_warned_about(caplog):
    await CutOff("mine", max_tokens=5).acall("x")

    assert "LM response was truncated due to exceeding max_tokens=5" in caplog.text
    assert "'mine'" in caplog.text


@pytest.mark.api("LM.truncation")
async def test_limit_of_the_call_is_the_one_that_the_warning_names(caplog):
    await CutOff("mine", max_tokens=5).acall("x", max_tokens=7)

    assert "max_tokens=7" in caplog.text


@pytest.mark.api("LM.truncation")
async def test_whole_answer_is_not_warned_about(caplog):
    await Async("mine", max_tokens=5).acall("x")

    assert caplog.text == ""


@pytest.mark.api("LM.copy")
async def test_copy_has_its_own_options_and_an_empty_history():
    lm = Async("mine", temperature=0.1)
    await lm.acall("x")
    twin = lm.copy(temperature=0.9, model="other", seed=1)

    assert (twin.model, twin.kwargs["temperature"], twin.kwargs["seed"]) == ("other", 0.9, 1)
    assert (lm.model, lm.kwargs["temperature"], "seed" in lm.kwargs) == ("mine", 0.1, False)
    assert (len(twin.history), len(lm.history)) == (0, 1)


@pytest.mark.api("LM.copy")
async def test_deepcopy_is_a_copy_that_works():
    lm = Async("mine", temperature=0.1)
    twin = copy.deepcopy(lm)
    await twin.acall("x")

    assert twin is not lm
    assert twin.kwargs is not lm.kwargs
    assert (len(twin.history), len(lm.history)) == (1, 0)


@pytest.mark.api("LM.copy")
def test_none_takes_an_option_away_from_a_copy():
    lm = Async("mine", temperature=0.1, seed=1)
    twin = lm.copy(seed=None, temperature=None)

    assert ("seed" in twin.kwargs, "temperature" in twin.kwargs) == (False, False)
    assert lm.kwargs["seed"] == 1


@pytest.mark.api("LM.copy")
def test_watchers_of_a_copy_are_its_own():
    lm = Async("mine", callbacks=["a watcher"])
    twin = lm.copy()
    twin.callbacks.append("another")

    assert (lm.callbacks, twin.callbacks) == (["a watcher"], ["a watcher", "another"])


async def test_none_takes_an_option_of_the_model_away_for_one_call():
    class Options(Async):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            return as_dict(repr(kwargs))

    lm = Options("mine", seed=1)

    assert await lm.acall("x", seed=None, stop=None) == ["{'seed': None}"]


@pytest.mark.api("LM.copy")
def test_lm_of_ones_own_says_what_it_can_do():
    class Able(Async):
        supports_function_calling = True

    plain, able = Async("mine"), Able("mine")

    assert not any([plain.supports_function_calling, plain.supports_reasoning])
    assert not any([plain.supports_response_schema, plain.supported_params])
    assert able.supports_function_calling


async def test_outputs_are_all_of_one_kind():
    class Two(Async):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            thought = {"content": "b", "reasoning_content": "Hm."}
            return {"choices": [{"message": {"content": "a"}}, {"message": thought}]}

    assert await Two("mine").acall("x") == [
        {"text": "a"},
        {"text": "b", "reasoning_content": "Hm."},
    ]


@pytest.mark.parametrize(
    ("message", "output"),
    [
        ({"content": None, "refusal": "No."}, "No."),
        ({"content": "x", "provider_specific_fields": {"citations": [[1], [2, 3]]}},
         {"text": "x", "citations": [1, 2, 3]}),
        ({"content": "x", "provider_specific_fields": {"citations": None}}, "x"),
        ({"content": "x", "tool_calls": []}, "x"),
    ],
    ids=["refusal", "citations", "no citations", "no tool calls"],
)  # fmt: skip
async def test_what_an_answer_has_beside_its_text_is_read(message, output):
    class Rich(Async):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            return {"choices": [{"message": message}]}

    assert await Rich("mine").acall("x") == [output]


@pytest.mark.api("LM.history")
async def test_history_is_a_list():
    lm = Async("mine")
    await lm.acall("a")
    await lm.acall("b")

    assert isinstance(lm.history, list)
    assert [entry["prompt"] for entry in lm.history[-2:]] == ["a", "b"]
    assert process_history[-1] is lm.history[-1]


@pytest.mark.api("LM.history")
async def test_history_has_the_options_and_no_keys():
    class Schema(BaseModel):
        x: int

    lm = Async("mine", temperature=0.1, api_base="http://x", extra_headers={"Authorization": "s"})
    await lm.acall("x", api_key="k", azure_ad_token="t", response_format=Schema)

    shown = {"temperature": 0.1, "max_tokens": None, "extra_headers": {}, "response_format": Schema}
    assert lm.history[0]["kwargs"] == shown


@pytest.mark.api("LM.history")
async def test_further_histories_take_up_entries_too():
    mine = []
    history.further_histories.append(lambda: [mine])
    with context(max_history_size=1):
        await Async("mine").acall("a")
        await Async("mine").acall("b")
    history.further_histories.pop()

    assert [entry["prompt"] for entry in mine] == ["b"]


@pytest.mark.api("LM.history")
async def test_history_keeps_the_latest_entries():
    lm = Async("mine")
    with context(max_history_size=2):
        await asyncio.gather(*(lm.acall(f"q{i}") for i in range(5)))

    assert [entry["prompt"] for entry in lm.history] == ["q3", "q4"]


@pytest.mark.api("LM.history")
@pytest.mark.parametrize(
    "setting", [{"disable_history": True}, {"max_history_size": 0}], ids=["disabled", "no room"]
)
async def test_history_can_be_switched_off(setting):
    lm = Async("mine")
    process_history.clear()
    with context(**setting):
        await lm.acall("x")

    assert (len(lm.history), len(process_history)) == (0, 0)


async def test_inspect_history_shows_the_latest_calls_of_the_lm():
    lm, file = Async("mine"), io.StringIO()
    await lm.acall("first question")
    await lm.acall(messages=[{"role": "user", "content": "second question"}])
    lm.inspect_history(n=1, file=file)

    assert "second question" in file.getvalue()
    assert "first question" not in file.getvalue()


async def test_inspect_history_of_the_process_knows_all_lms(capsys):
    await Async("one").acall("to the first")
    await Async("two").acall("to the second")
    inspect_history(n=2)

    shown = capsys.readouterr().out
    assert "one" in shown
    assert shown.index("to the first") < shown.index("to the second")


@pytest.mark.parametrize("n", [0, 1])
def test_inspect_history_of_an_unused_lm_says_so(n, capsys):
    Async("mine").inspect_history(n)

    assert capsys.readouterr().out == "No request was made yet.\n"


async def test_inspect_history_shows_no_secrets(monkeypatch, capsys):
    monkeypatch.setenv("MY_API_KEY", "from-the-environment-1")
    remember_secret("remembered-secret-22")
    lm = Async("mine")
    await lm.acall("remembered-secret-22 from-the-environment-1 sk-abcdefghijklmnop1234 fine")
    lm.inspect_history()

    shown = capsys.readouterr().out
    assert "<redacted> <redacted> <redacted> fine" in shown
