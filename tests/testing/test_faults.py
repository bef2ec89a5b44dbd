"""What the scripted server does where a test wants a bad provider."""

from __future__ import annotations

import asyncio

import aiohttp
import pytest

from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.server import ScriptedServer


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 408, 413, 429, 500, 503])
async def test_failure_sends_its_status_and_message(client, status):
    script = [Failure(status, "no luck", code="my_code")]
    async with (
        ScriptedServer(script) as server,
        client.chat(server) as reply,
    ):
        assert reply.status == status
        assert "retry-after" not in reply.headers
        error = (await reply.json())["error"]
    assert (error["message"], error["code"]) == ("no luck", "my_code")


async def test_failure_sends_retry_after_in_seconds(client):
    async with (
        ScriptedServer([Failure(429, retry_after=1.5)]) as server,
        client.chat(server) as reply,
    ):
        assert reply.headers["retry-after"] == "1.5"


async def test_failure_may_have_any_body(client):
    script = [Failure(503, body="<html>", content_type="text/html")]
    async with (
        ScriptedServer(script) as server,
        client.chat(server) as reply,
    ):
        assert (reply.content_type, await reply.text()) == ("text/html", "<html>")


@pytest.mark.parametrize(
    ("step", "error", "reason"),
    [
        pytest.param(Drop(), aiohttp.ClientOSError, "reset by peer", id="reset at once"),
        pytest.param(
            Drop(reset=False), aiohttp.ServerDisconnectedError, "disconnected", id="closed at once"
        ),
        pytest.param(Drop(0), aiohttp.ClientPayloadError, "reset by", id="reset after headers"),
        pytest.param(Drop(40), aiohttp.ClientPayloadError, "reset by", id="reset in the body"),
        pytest.param(Drop(9_000), aiohttp.ClientPayloadError, "reset by", id="reset at its end"),
        pytest.param(
            Drop(40, reset=False), aiohttp.ClientPayloadError, "not completed", id="closed in it"
        ),
    ],
)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
async def test_drop_breaks_the_connection(client, step, error, reason, stream):
    async with ScriptedServer([step]) as server:
        with pytest.raises(error, match=reason):
            await client.ask(server, stream=stream)

    assert server.aborted == 0


async def test_drop_sends_as_many_bytes_as_told(client):
    script = [Drop(30, of=Answer("Paris"))]
    async with (
        ScriptedServer(script) as server,
        client.chat(server) as reply,
    ):
        assert reply.status == 200
        assert len(await reply.content.readexactly(30)) == 30
        with pytest.raises(aiohttp.ClientError):
            await reply.read()


async def test_hang_is_silent_until_the_client_gives_up(client):
    async with ScriptedServer([Hang()]) as server:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.ask(server), 0.1)
        await server.wait_until(lambda: server.aborted, timeout_s=0.2)

    assert server.requests[0].aborted


async def test_hang_may_begin_an_answer(client):
    script = [Hang(20)]
    async with (
        ScriptedServer(script) as server,
        client.chat(server) as reply,
    ):
        assert len(await reply.content.readexactly(20)) == 20
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(reply.read(), 0.1)


async def test_used_up_script_says_so_and_quotes_the_request(client):
    async with (
        ScriptedServer() as server,
        client.chat(server, text="Which city?") as reply,
    ):
        assert reply.status == 500
        message = (await reply.json())["error"]["message"]
    assert "used up" in message
    assert "'Which city?'" in message
