"""A client as a program under test would have one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

if TYPE_CHECKING:
    from nbtool.testing.server import ScriptedServer

CHAT = "/chat/completions"


class Client:
    """Post chat turns with aiohttp; the short methods are what the tests say most often."""

    def __init__(self, session: aiohttp.ClientSession) -> None:
        self.get = session.get
        self.post = session.post

    @staticmethod
    def turn(text: str = "What is the capital of France?", **fields: Any) -> dict[str, Any]:
        return {"model": "tiny", "messages": [{"role": "user", "content": text}], **fields}

    def chat(self, server: ScriptedServer, path: str = CHAT, headers: Any = None, **fields: Any):
        return self.post(server.base_url + path, json=self.turn(**fields), headers=headers)

    async def ask(self, server: ScriptedServer, path: str = CHAT, **fields: Any) -> Any:
        async with self.chat(server, path, **fields) as reply:
            return await reply.json()

    async def said(self, server: ScriptedServer, **fields: Any) -> Any:
        answer = await self.ask(server, **fields)
        return answer["choices"][0]["message"]["content"]

    async def events(self, server: ScriptedServer, path: str = CHAT, **fields: Any) -> list[Any]:
        async with self.chat(server, path, stream=True, **fields) as reply:
            lines = (await reply.text()).splitlines()
        return [json.loads(line[6:]) for line in lines if line.startswith("data: {")]


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield Client(session)
