"""A user's own `BaseLM`, and what all LMs have in common."""

from __future__ import annotations

import asyncio
import copy
import io
import threading
import time
from types import SimpleNamespace

import pytest

from nbtool.configuration import context
from nbtool.errors import LMServerError
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


@pytest.mark.parametrize("kind", [Async, Objects])
async def test_dict_and_object_responses_are_read_alike(kind):
    lm = kind("mine")

    assert await lm.acall("x") == ["x"]
    assert lm.history[0]["usage"]["total_tokens"] == 3
    assert lm.history[0]["response_model"] == "mine-1"


def test_sync_call_of_an_async_lm_gives_the_same():
    assert Async("mine")("x") == ["x"]


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


def test_sync_call_of_a_blocking_lm_works():
    assert Blocking("mine")("x")


def test_own_lm_works_with_predictors():
    class Echo(Async):
        respond = staticmethod(lambda text: as_dict("[[ ## answer ## ]]\nParis"))

    assert Predict("question -> answer")(question="?", lm=Echo("mine")).answer == "Paris"


async def test_lm_without_logic_says_what_to_define():
    with pytest.raises(NotImplementedError, match="aforward"):
        await BaseLM("mine").acall("x")


async def test_response_without_choices_is_an_error():
    with pytest.raises(LMServerError, match="'mine' gave no answer"):
        await Empty("mine").acall("x")


async def test_answer_that_was_cut_off_is_warned_about(caplog):
    await CutOff("mine", max_tokens=5).acall("x")

    assert "cut off at max_tokens=5" in caplog.text


async def test_copy_has_its_own_options_and_an_empty_history():
    lm = Async("mine", temperature=0.1)
    await lm.acall("x")
    twin = lm.copy(temperature=0.9, model="other", seed=1)

    assert (twin.model, twin.kwargs["temperature"], twin.kwargs["seed"]) == ("other", 0.9, 1)
    assert (lm.model, lm.kwargs["temperature"], "seed" in lm.kwargs) == ("mine", 0.1, False)
    assert (len(twin.history), len(lm.history)) == (0, 1)


async def test_deepcopy_is_a_copy_that_works():
    lm = Async("mine", temperature=0.1)
    twin = copy.deepcopy(lm)
    await twin.acall("x")

    assert twin is not lm
    assert twin.kwargs is not lm.kwargs
    assert (len(twin.history), len(lm.history)) == (1, 0)


async def test_history_keeps_the_latest_entries():
    lm = Async("mine")
    with context(max_history_size=2):
        await asyncio.gather(*(lm.acall(f"q{i}") for i in range(5)))

    assert [entry["prompt"] for entry in lm.history] == ["q3", "q4"]


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
