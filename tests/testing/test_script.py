"""Which step of a script answers which request."""

from __future__ import annotations

import asyncio

from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer


async def test_default_answers_when_the_script_is_used_up(client):
    async with ScriptedServer(["first"], default="else") as server:
        texts = [await client.said(server), await client.said(server), await client.said(server)]

    assert texts == ["first", "else", "else"]


async def test_prompts_choose_their_answers_whatever_the_order(client):
    table = {"capital": Answer("Paris"), "river": ["Seine", "Loire"]}
    async with ScriptedServer(by_prompt=table) as server:
        prompts = ("a river", "the capital", "a river", "the capital")
        asked = [client.said(server, text=text) for text in prompts]
        texts = await asyncio.gather(*asked)

    assert sorted(texts) == ["Loire", "Paris", "Paris", "Seine"]
    assert texts[1] == texts[3] == "Paris"


async def test_part_of_a_prompt_whose_list_is_used_up_answers_no_more(client):
    async with ScriptedServer(["spare"], by_prompt={"river": ["Seine"]}) as server:
        assert await client.said(server, text="a river") == "Seine"
        assert await client.said(server, text="a river") == "spare"


async def test_unused_names_what_nobody_asked_for(client):
    table = {"capital": Answer("Paris"), "river": ["Seine"], "lake": "Annecy"}
    async with ScriptedServer(["a", "b"], by_prompt=table) as server:
        await client.said(server, text="the capital")
        await client.said(server, text="whatever")

    assert server.unused == [Answer("b"), Answer("Seine"), Answer("Annecy")]


async def test_respond_may_be_a_plain_function(client):
    async with ScriptedServer(respond=lambda request: request.prompt.upper()) as server:
        assert await client.said(server, text="loud") == "LOUD"


async def test_respond_may_be_async_and_order_the_answers(client):
    second_came = asyncio.Event()

    async def respond(request):
        first = request.prompt == "first"
        await (second_came.wait() if first else asyncio.sleep(0))
        second_came.set()
        return request.prompt

    async with ScriptedServer(respond=respond) as server:
        waiting = asyncio.create_task(client.said(server, text="first"))
        await server.wait_until(lambda: server.in_flight == 1)
        assert await client.said(server, text="second") == "second"
        assert await waiting == "first"


async def test_respond_that_returns_none_leaves_it_to_the_default(client):
    async with ScriptedServer(respond=lambda request: None, default="else") as server:
        assert await client.said(server) == "else"


async def test_respond_that_raises_is_told_to_the_client(client):
    async with (
        ScriptedServer(respond=lambda request: 1 / 0) as server,
        client.chat(server) as reply,
    ):
        assert reply.status == 500
        assert "ZeroDivisionError" in await reply.text()
