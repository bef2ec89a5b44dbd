"""What the cells of the tests run. Steps wait for a test's word, not for the clock."""

from __future__ import annotations

SETUP = """
import asyncio, pathlib, time
import nbtool as nb
from nbtool.testing import DummyLM
from nbtool.tracing.boundary import current_span, traced

async def word(name):
    while not pathlib.Path(name).exists():
        await asyncio.sleep(0.02)

@nb.traced
async def early(question):
    await word("early")
    return "found"

@nb.traced
async def late(notes):
    await word("late")
    return "written"

class Agent(nb.Module):
    async def aforward(self, question):
        return await late(await early(question))

class SlowLM(DummyLM):
    async def aforward(self, prompt=None, messages=None, **options):
        await word("answer")
        return await super().aforward(prompt, messages, **options)

agent = Agent()
"""

WAYS = {
    "await": "result = await agent.acall(question='why?')",
    "sync": "result = agent(question='why?')",
    "background": "agent.acall(question='why?')",
}
"""Cells that run the same chain, by how they wait for it."""
