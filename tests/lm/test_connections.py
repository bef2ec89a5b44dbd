"""Connections end with their loop, and none is left over."""

from __future__ import annotations

import asyncio
import functools
import gc
import threading

import pytest

from nbtool.lm import connections
from nbtool.lm.connections import loops_session
from nbtool.runtime.program import as_program
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = [
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings:UserWarning"),
]
ENDPOINTS = pytest.mark.parametrize("model_type", ["chat", "text", "responses"])


@pytest.fixture
def connect(connect):
    """Each call makes its own request here, also where two are the same."""
    return functools.partial(connect, cache=False)


@pytest.fixture
def server():
    with ScriptedServer(default=Answer("x y z")) as server:
        yield server


async def ask(lm, times):
    return [await lm.acall(f"q{n}") for n in range(times)]


async def fetch(server):
    session = await connections.loops_session()
    async with session.get(f"{server.base_url}/models") as reply:
        return await reply.json()


@ENDPOINTS
@pytest.mark.parametrize("live", [False, True], ids=["whole", "streamed"])
def test_calls_one_after_another_share_a_connection(server, connect, model_type, live):
    lm = connect(server, model_type=model_type)
    with watching(Recorder(wants_tokens=live)):
        asyncio.run(ask(lm, 4))

    assert {request.connection_id for request in server.requests} == {1}


@ENDPOINTS
async def test_connection_ends_with_its_loop(server, connect, model_type):
    lm = connect(server, model_type=model_type)
    await asyncio.to_thread(lambda: [asyncio.run(ask(lm, 2)) for _ in range(3)])
    await server.wait_until(lambda: not server.connections_open, timeout_s=2)

    assert (len(server.requests), server.connections_peak) == (6, 1)


async def test_connections_of_a_thread_end_with_it(server, connect):
    lm = connect(server)
    thread = threading.Thread(target=lambda: [lm("a"), lm("b")])
    thread.start()
    await asyncio.to_thread(thread.join)
    gc.collect()
    await server.wait_until(lambda: not server.connections_open, timeout_s=2)

    assert {request.connection_id for request in server.requests} == {1}


async def test_failed_calls_leave_no_connection_behind(connect):
    async with ScriptedServer(default="x") as broken:
        lm = connect(broken)
        await lm.acall("a")
    with pytest.raises(Exception, match="gave no answer"):
        await lm.acall("b")  # the server is gone

    session = await connections.loops_session()
    assert len(session.connector._conns) == 0


@pytest.mark.filterwarnings("ignore:unclosed transport:ResourceWarning")  # as on any such loop
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its socket, too
def test_loop_that_was_closed_without_notice_is_let_go(server):
    lost = asyncio.new_event_loop()
    lost.run_until_complete(fetch(server))
    assert lost in connections._by_loop
    lost.close()
    asyncio.run(fetch(server))
    gc.collect()

    assert lost not in connections._by_loop


def test_ended_loops_are_not_remembered(server, connect):
    asyncio.run(ask(connect(server), 1))

    assert [loop for loop in connections._by_loop if loop.is_closed()] == []


async def test_cookies_of_a_provider_are_not_kept():
    session = await connections.loops_session()

    session.cookie_jar.update_cookies({"user": "one"})
    assert len(session.cookie_jar) == 0


async def test_session_outlives_the_program_that_needed_it_first():
    session = await as_program(loops_session())

    assert session.closed is False
    assert await loops_session() is session
