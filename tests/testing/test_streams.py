"""How the scripted server streams an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

WEATHER = {"name": "weather", "arguments": {"city": "Oslo"}}


def joined(chunks: list[dict[str, Any]], name: str = "content") -> str:
    deltas = [choice["delta"] for chunk in chunks for choice in chunk["choices"]]
    return "".join(delta.get(name) or "" for delta in deltas)


async def test_stream_sends_the_text_word_by_word(client):
    async with ScriptedServer(["It is  Paris"]) as server:
        chunks = await client.events(server)

    assert chunks[0]["object"] == "chat.completion.chunk"
    assert [chunk["choices"][0]["delta"].get("content") for chunk in chunks] == [
        "",
        "It ",
        "is  ",
        "Paris",
        None,
    ]
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"


async def test_stream_ends_with_done(client):
    async with (
        ScriptedServer(["Paris"]) as server,
        client.chat(server, stream=True) as reply,
    ):
        assert reply.content_type == "text/event-stream"
        assert (await reply.text()).endswith("data: [DONE]\n\n")


async def test_given_chunks_are_the_pieces_and_the_text(client):
    async with ScriptedServer(default=Answer(chunks=["Pa", "ris"])) as server:
        chunks = await client.events(server)
        whole = await client.said(server)

    assert [c["choices"][0]["delta"].get("content") for c in chunks[1:3]] == ["Pa", "ris"]
    assert whole == "Paris"


async def test_chunk_delay_lies_between_the_events(client):
    async with (
        ScriptedServer([Answer(chunks=["a", "b"], chunk_delay_s=0.05)]) as server,
        client.chat(server, stream=True) as reply,
    ):
        first_s = asyncio.get_running_loop().time()
        await reply.read()

    assert asyncio.get_running_loop().time() - first_s >= 0.15


async def test_stream_sends_tool_calls_in_pieces(client):
    async with ScriptedServer([Answer(tool_calls=[WEATHER])]) as server:
        chunks = await client.events(server)

    deltas = [c["choices"][0]["delta"] for c in chunks if c["choices"][0]["delta"]][1:]
    assert deltas[0]["tool_calls"][0]["function"] == {"name": "weather", "arguments": ""}
    pieces = [delta["tool_calls"][0]["function"]["arguments"] for delta in deltas]
    assert "".join(pieces) == '{"city": "Oslo"}'
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


async def test_stream_sends_reasoning_before_the_text(client):
    async with ScriptedServer([Answer("Paris", reasoning="so it is")]) as server:
        chunks = await client.events(server)

    assert joined(chunks, "reasoning_content") == "so it is"
    assert joined(chunks) == "Paris"


async def test_stream_sends_usage_when_asked_for(client):
    async with ScriptedServer(["Paris"]) as server:
        chunks = await client.events(server, stream_options={"include_usage": True})

    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["total_tokens"] == 7
