"""What the scripted server records, and how it ends."""

from __future__ import annotations

import asyncio
import io
import json
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from nbtool.errors import ConfigurationError
from nbtool.testing.answers import Answer, Hang
from nbtool.testing.server import ScriptedServer

CHECKOUT = Path(__file__).resolve().parents[2]
CHAT = "/chat/completions"


async def test_request_is_recorded_with_headers_body_and_time(client):
    async with (
        ScriptedServer(["Paris"]) as server,
        client.chat(server, headers={"X-Key": "k"}) as reply,
    ):
        assert reply.headers["x-request-id"] == "req_1"
    request = server.requests[0]
    assert (request.number, request.method, request.path) == (1, "POST", "/v1/chat/completions")
    assert request.headers["x-key"] == "k"
    assert request.body == client.turn()
    assert 0 < request.at_s < 5
    assert not request.aborted


async def test_prompt_is_the_text_of_the_last_user_turn(client):
    parts = [{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "x"}}]
    messages = [{"role": "user", "content": "hi"}, {"role": "user", "content": parts}]
    async with ScriptedServer([Answer("seen")]) as server:
        await client.ask(server, messages=messages)

    assert server.requests[0].prompt == "look"


async def test_large_bodies_are_accepted(client):
    body = io.BytesIO(json.dumps(client.turn("x" * 3_000_000)).encode())
    async with (
        ScriptedServer(["read"]) as server,
        client.post(server.base_url + CHAT, data=body) as reply,
    ):
        assert reply.status == 200
    assert len(server.requests[0].prompt) == 3_000_000


async def test_requests_in_flight_and_connections_are_counted(client):
    async with ScriptedServer(default=Answer("ok", delay_s=0.1)) as server:
        waiting = asyncio.gather(*(client.said(server) for _ in range(5)))
        await server.wait_until(lambda: server.in_flight == 5)
        await waiting
        assert (server.in_flight, server.in_flight_peak) == (0, 5)
        assert (server.connections_open, server.connections_peak) == (5, 5)


async def test_kept_connection_has_one_number(client):
    async with ScriptedServer(default="ok") as server:
        await client.said(server)
        await client.said(server)

    assert [request.connection_id for request in server.requests] == [1, 1]


async def test_client_that_leaves_a_delayed_answer_is_noticed(client):
    async with ScriptedServer([Answer("late", delay_s=30)]) as server:
        asked = asyncio.create_task(client.said(server))
        await server.wait_until(lambda: server.in_flight)
        asked.cancel()
        await server.wait_until(lambda: server.aborted == 1, timeout_s=0.2)
        assert server.in_flight == 0


async def test_client_that_leaves_a_stream_is_noticed(client, caplog):
    endless = Answer(chunks=["word "] * 10_000, chunk_delay_s=0.001)
    async with ScriptedServer([endless]) as server:
        async with client.chat(server, stream=True) as reply:
            await reply.content.readline()
        await server.wait_until(lambda: server.aborted == 1, timeout_s=0.2)

    assert caplog.records == []


async def test_leaving_closes_all_connections_and_tasks(client):
    tasks_before = asyncio.all_tasks()
    async with ScriptedServer([Hang()], default="ok") as server:
        waiting = asyncio.create_task(client.said(server))
        await server.wait_until(lambda: server.in_flight)
        await client.said(server)

    assert server.connections_open == server.in_flight == server.aborted == 0
    with pytest.raises(aiohttp.ClientError):
        await waiting
    assert asyncio.all_tasks() <= tasks_before | {waiting}


async def test_port_is_free_after_leaving(client):
    async with ScriptedServer(["ok"]) as server:
        await client.said(server)
    with pytest.raises(aiohttp.ClientConnectorError):
        await client.said(server)


async def test_script_goes_on_where_it_was_when_entered_again(client):
    server = ScriptedServer(["one", "two"])
    async with server:
        await client.said(server)
    async with server:
        assert await client.said(server) == "two"


def test_address_before_the_start_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigurationError, match="Enter it first"):
        _ = ScriptedServer().base_url


def post(server: ScriptedServer) -> dict[str, Any]:
    request = urllib.request.Request(  # noqa: S310 - the server's own address
        server.base_url + CHAT,
        b'{"messages": [{"role": "user", "content": "The capital?"}]}',
        {"connection": "close"},
    )
    with urllib.request.urlopen(request, timeout=5) as reply:  # noqa: S310 - as above
        return json.load(reply)


def test_plain_with_serves_blocking_clients_from_a_thread_of_its_own():
    with ScriptedServer(["Paris"]) as server:
        answer = post(server)

    assert answer["choices"][0]["message"]["content"] == "Paris"
    assert server.connections_open == 0


async def test_plain_with_serves_a_blocking_client_on_a_running_loop():
    with ScriptedServer(["Paris"]) as server:
        assert post(server)["choices"][0]["message"]["content"] == "Paris"


PROGRAM = """
import asyncio, urllib.request
from nbtool.testing.answers import Hang
from nbtool.testing.server import ScriptedServer

async def main():
    async with ScriptedServer([Hang(3)]) as server:
        _, writer = await asyncio.open_connection("127.0.0.1", int(server.base_url[17:-3]))
        head = "POST /v1/completions HTTP/1.1", "host: x", "content-length: 2"
        writer.write("\\r\\n".join((*head, "", "{}")).encode())
        await server.wait_until(lambda: server.in_flight)
    writer.close()

asyncio.run(main())
with ScriptedServer() as server:
    urllib.request.urlopen(server.base_url + "/models").read()
"""


def test_program_that_used_it_leaves_nothing_open_and_no_task():
    ended = subprocess.run(  # noqa: S603 - the program above
        [sys.executable, "-X", "dev", "-W", "error", "-c", PROGRAM],
        check=False,
        capture_output=True,
        text=True,
        cwd=CHECKOUT,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
