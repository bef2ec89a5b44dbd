"""What every transport must do, and that `LM` takes any that does.

`Plain` is a second one, of the fewest lines that keep the contract.
"""

from __future__ import annotations

import asyncio
import json

import aiohttp
import pytest

from nbtool.errors import LMAuthError, LMRateLimitError, LMServerError, LMTransportError
from nbtool.lm.client import LM
from nbtool.lm.litellm import litellm_transport
from nbtool.lm.responses import outputs_of, usage_of
from nbtool.lm.transport import Request
from nbtool.testing.answers import Answer, Drop, Failure, Hang
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

pytestmark = [
    pytest.mark.filterwarnings("ignore:Item .* is using the `ReadOnly`:UserWarning"),
    pytest.mark.filterwarnings("ignore:Accessing the 'model_.*fields':DeprecationWarning"),
]
ERRORS = {401: LMAuthError, 429: LMRateLimitError, 500: LMServerError}


class Plain:
    """Speak to one OpenAI-compatible address, with aiohttp alone."""

    async def complete(self, request):
        return await self._asked(request, None)

    async def stream(self, request, on_text):
        return await self._asked(request, on_text)

    async def _asked(self, request, on_text):
        sent = {**request.options, "stream": on_text is not None}
        url = f"{sent.pop('api_base')}/chat/completions"
        key = {"authorization": f"Bearer {sent.pop('api_key')}"}
        try:
            async with (
                aiohttp.ClientSession(headers=key) as session,
                session.post(url, json=sent) as reply,
            ):
                if reply.status in ERRORS:
                    raise ERRORS[reply.status]("no luck", status=reply.status, model=sent["model"])
                return await (reply.json() if on_text is None else _read(reply, on_text))
        except aiohttp.ClientError as error:
            raise LMTransportError("the line is dead", model=request.model) from error


async def _read(reply, on_text):
    text = ""
    async for line in reply.content:
        if line.startswith(b"data: {"):
            for choice in json.loads(line[6:])["choices"]:
                piece = choice["delta"].get("content") or ""
                text += piece
                on_text(piece)
    return {"choices": [{"message": {"content": text}}], "model": "test"}


@pytest.fixture(params=[litellm_transport, Plain()], ids=["litellm", "plain"])
def transport(request):
    return request.param


@pytest.fixture
def request_to(api_key):
    def made(server, text="Capital?"):
        turns = [{"role": "user", "content": text}]
        given = {"api_base": server.base_url, "api_key": api_key}
        return Request("chat", {"model": "openai/test", "messages": turns, **given})

    return made


async def test_whole_answer_is_an_openai_like_response(transport, request_to):
    async with ScriptedServer(["Paris"]) as server:
        response = await transport.complete(request_to(server))

    assert outputs_of(response) == ["Paris"]
    assert usage_of(response)["total_tokens"] == 2


async def test_streamed_answer_is_told_in_order_and_is_whole_in_the_end(transport, request_to):
    pieces = []
    async with ScriptedServer([Answer("one two three")]) as server:
        response = await transport.stream(request_to(server), pieces.append)

    assert "".join(pieces) == "one two three"
    assert len([piece for piece in pieces if piece]) == 3
    assert outputs_of(response) == ["one two three"]
    assert server.requests[0].streamed


@pytest.mark.parametrize(("status", "kind"), ERRORS.items())
async def test_providers_error_is_of_our_tree(transport, request_to, status, kind):
    async with ScriptedServer([Failure(status)]) as server:
        with pytest.raises(kind) as caught:
            await transport.complete(request_to(server))

    assert (caught.value.status, caught.value.model) == (status, "openai/test")


async def test_dead_line_is_a_transport_error(transport, request_to):
    async with ScriptedServer([Drop()]) as server:
        with pytest.raises(LMTransportError):
            await transport.complete(request_to(server))


@pytest.mark.parametrize("begun", [Hang(), Hang(40)], ids=["silent", "in the body"])
async def test_cancel_closes_the_connection(transport, request_to, begun):
    async with ScriptedServer([begun]) as server:
        asked = asyncio.create_task(transport.complete(request_to(server)))
        await server.wait_until(lambda: server.in_flight)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        await server.wait_until(lambda: server.aborted and not server.connections_open)

    assert len(server.requests) == 1


async def test_failed_request_is_sent_once(transport, request_to):
    async with ScriptedServer(default=Failure(429, retry_after=0)) as server:
        with pytest.raises(LMRateLimitError):
            await transport.complete(request_to(server))

    assert len(server.requests) == 1


async def test_several_requests_are_carried_at_once(transport, request_to):
    async with ScriptedServer(default=Answer("x", delay_s=0.2)) as server:
        await asyncio.gather(*(transport.complete(request_to(server)) for _ in range(5)))

    assert server.in_flight_peak == 5


# -- LM over any of them -------------------------------------------------------------------------


@pytest.mark.parametrize("live", [False, True], ids=["whole", "streamed"])
async def test_lm_takes_any_transport(transport, connect, live):
    recorder = Recorder(wants_tokens=live)
    async with ScriptedServer([Failure(429, retry_after=0), "Paris"]) as server:
        lm = connect(server, num_retries=1)
        lm.transport = transport
        with watching(recorder):
            assert await lm.acall("Capital?") == ["Paris"]

    assert [request.streamed for request in server.requests] == [live] * 2
    assert recorder.records()[0].attributes["retries"] == 1
    assert lm.history[0]["outputs"] == ["Paris"]


def test_copies_keep_the_transport(connect):
    mine = Plain()
    lm = LM("openai/test")
    lm.transport = mine

    assert (lm.copy().transport, LM("openai/test").transport) == (mine, litellm_transport)
