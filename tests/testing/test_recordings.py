"""`replayed`: a test that is served from a recording, and what fails it."""

from __future__ import annotations

import asyncio
import socket

import pytest

import nbtool
from nbtool.errors import NbtoolError, RecordingError, ReplayMismatchError
from nbtool.testing import Answer, DummyLM, ScriptedServer, replayed


@pytest.fixture
def path(tmp_path):
    """Record two calls, one asynchronous and one not, of an LM over HTTP."""
    path = tmp_path / "capitals.jsonl"

    async def record():
        script = Answer("[[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]")
        async with ScriptedServer(default=script) as server:
            lm = nbtool.LM("openai/m", api_base=server.base_url, api_key="k", cache=False)
            with nbtool.context(lm=lm), replayed(path, record=True):
                await ask("France?")
                await asyncio.to_thread(ask_sync, "Gaul?")

    asyncio.run(record())
    nbtool.configure(lm=nbtool.LM("openai/m", api_base="http://127.0.0.1:9", api_key="other"))
    return path


predict = nbtool.Predict("question -> answer")


async def ask(question):
    return (await predict.acall(question=question)).answer


def ask_sync(question):
    return predict(question=question).answer


def test_calls_are_served_without_a_key_and_without_a_connection(path):
    with replayed(path) as trace:
        assert asyncio.run(ask("France?")) == "Paris"
        assert ask_sync("Gaul?") == "Paris"

    assert [step.attributes["replayed"] for step in trace.find(kind="lm")] == [True, True]


def test_call_that_was_not_recorded_fails(path):
    with pytest.raises(ReplayMismatchError, match="asked another thing"), replayed(path):
        ask_sync("Spain?")


def test_mismatch_that_the_program_catches_fails_at_the_end(path):
    with pytest.raises(ReplayMismatchError, match="'openai/m' cannot be"), replayed(path):
        assert ask_whatever_comes("Spain?") == "caught"


def ask_whatever_comes(question):
    try:
        return ask_sync(question)
    except ReplayMismatchError:
        return "caught"


def connect():
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except NbtoolError:
        return "caught"


def test_connection_that_the_program_makes_fails(path):
    with pytest.raises(NbtoolError, match=r"connection was opened .*127\.0\.0\.1"), replayed(path):
        connect()


def test_connections_are_free_again_after_the_block(path):
    with replayed(path):
        pass

    with pytest.raises(OSError, match="refused"):
        connect()


def test_missing_recording_says_how_to_make_it(tmp_path):
    with pytest.raises(RecordingError, match="NBTOOL_RECORD=1"), replayed(tmp_path / "no.jsonl"):
        pass


def test_environment_asks_to_record_anew(path, monkeypatch):
    monkeypatch.setenv("NBTOOL_RECORD", "1")
    with nbtool.context(lm=DummyLM([{"answer": "Madrid"}])), replayed(path):
        ask_sync("Spain?")
    monkeypatch.setenv("NBTOOL_RECORD", "0")

    with nbtool.context(lm=DummyLM([])), replayed(path):
        assert ask_sync("Spain?") == "Madrid"


async def test_thousand_steps_are_replayed_without_a_connection(tmp_path):
    tool = nbtool.Tool(lambda x: x, name="tool", args={"x": {}})

    class Long(nbtool.Module):
        async def aforward(self):
            for batch in range(10):
                await asyncio.gather(*[tool.acall(x=100 * batch + i) for i in range(100)])
            return "done"

    with replayed(tmp_path / "long.jsonl", record=True):
        await Long().acall()
    with replayed(tmp_path / "long.jsonl") as trace:
        assert await Long().acall() == "done"

    assert len(trace) == 1001
