"""The provider's key: text, or a function that is asked at each request."""

from __future__ import annotations

import asyncio
import json
import threading
import time

import pytest

from nbtool.errors import LMAuthError, LMConfigurationError
from nbtool.testing.answers import Failure
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.record import secrets_in_use


def sent(server):
    return [request.headers["authorization"] for request in server.requests]


async def test_function_is_asked_for_the_key_at_each_request(connect):
    keys = iter(["sk-first-0123456789", "sk-second-0123456789"])
    async with ScriptedServer(default="x") as server:
        lm = connect(server, api_key=lambda: next(keys))
        await lm.acall("a")
        await lm.acall("b")

    assert sent(server) == ["Bearer sk-first-0123456789", "Bearer sk-second-0123456789"]


async def test_function_is_asked_again_for_a_retry(connect):
    keys = iter(["sk-first-0123456789", "sk-second-0123456789"])
    async with ScriptedServer([Failure(503, retry_after=0), "x"]) as server:
        await connect(server, api_key=lambda: next(keys), num_retries=1).acall("a")

    assert sent(server) == ["Bearer sk-first-0123456789", "Bearer sk-second-0123456789"]


async def test_function_may_be_asynchronous(connect):
    async def key():
        await asyncio.sleep(0)
        return "sk-from-a-vault-0123"

    async with ScriptedServer(default="x") as server:
        await connect(server, api_key=key).acall("a")

    assert sent(server) == ["Bearer sk-from-a-vault-0123"]


async def test_slow_function_does_not_stop_the_loop(connect):
    threads = []

    def key():
        threads.append(threading.current_thread())
        time.sleep(0.2)
        return "sk-from-a-vault-0123"

    async with ScriptedServer(default="x") as server:
        call = asyncio.create_task(connect(server, api_key=key).acall("a"))
        await server.wait_until(lambda: threads)
        assert not call.done()
        await call

    assert threads[0] is not threading.main_thread()


@pytest.mark.parametrize("key", [None, "", 5, b"sk-0123456789"], ids=repr)
async def test_function_that_gives_no_key_is_told_so(connect, key):
    async with ScriptedServer() as server:
        with pytest.raises(LMConfigurationError, match=type(key).__name__) as caught:
            await connect(server, api_key=lambda: key).acall("a")

    assert (server.requests, bool(caught.value.hint)) == ([], True)


async def test_function_that_fails_is_the_cause_of_an_auth_error(connect):
    def key():
        raise OSError("the vault is closed")

    async with ScriptedServer() as server:
        with pytest.raises(LMAuthError, match="failed with OSError") as caught:
            await connect(server, api_key=key, num_retries=3).acall("a")

    assert str(caught.value.__cause__) == "the vault is closed"
    assert server.requests == []


async def test_key_that_a_function_gave_is_hidden_from_then_on(connect):
    async with ScriptedServer(default="x") as server:
        await connect(server, api_key=lambda: "sk-fresh-from-the-vault-99").acall("a")

    assert "sk-fresh-from-the-vault-99" in secrets_in_use()


async def test_key_of_one_call_is_hidden_from_then_on(connect):
    async with ScriptedServer(default="x") as server:
        await connect(server).acall("a", api_key="key-of-one-call-1234")

    assert "key-of-one-call-1234" in secrets_in_use()


HOSTS = {
    "Colab": (
        {"COLAB_RELEASE_TAG": "release-colab"},
        ["google.colab import userdata", "userdata.get('OPENAI_API_KEY')"],
    ),
    "Databricks": (
        {"DATABRICKS_RUNTIME_VERSION": "15.4"},
        ["dbutils.secrets.get(", "key='OPENAI_API_KEY'"],
    ),
    "elsewhere": ({}, ["environment (OPENAI_API_KEY)", "LM(..., api_key=...)"]),
}


@pytest.mark.parametrize(("env", "lines"), HOSTS.values(), ids=HOSTS)
def test_missing_key_names_the_lines_that_fetch_it_on_that_host(run, env, lines):
    source = """
import json, nbtool
try:
    nbtool.LM("openai/gpt-4o-mini")("x")
except nbtool.LMAuthError as error:
    print(json.dumps(error.hint))
"""
    said = run(source, OPENAI_BASE_URL="http://127.0.0.1:9", **env)
    hint = json.loads(said.stdout)

    assert [line for line in lines if line not in hint] == []
