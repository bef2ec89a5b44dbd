"""Chains to debug: modules, tools and an LM that answers what it is told."""

from __future__ import annotations

import asyncio

import pytest

import nbtool
from nbtool.testing import DummyLM


class Agent(nbtool.Module):
    """Ask, call two tools side by side, ask again; notes in `ran` what has run."""

    def __init__(self, ran, **tools):
        self.ran = ran
        self.plan = nbtool.Predict("question -> plan")
        self.answer = nbtool.Predict("plan, observations -> answer")
        self.tools = [nbtool.Tool(tool, name=name) for name, tool in tools.items()]

    async def aforward(self, question):
        self.ran.append("agent")
        planned = await self.plan.acall(question=question)
        observed = await asyncio.gather(*[tool.acall(x=4) for tool in self.tools])
        return await self.answer.acall(plan=planned.plan, observations=str(observed))


class CountingLM(DummyLM):
    """Answer from a list, and note each request."""

    def __init__(self, ran):
        super().__init__([{"plan": "look"}, {"answer": "seen"}, {"answer": "seen again"}])
        self.ran = ran

    async def aforward(self, prompt=None, messages=None, **kwargs):
        self.ran.append("lm")
        return await super().aforward(prompt, messages, **kwargs)


@pytest.fixture
def ran():
    return []


@pytest.fixture
def agent(ran):
    """Make an agent with an LM and with tools that note what has run."""

    async def double(x: int):
        ran.append("double")
        await asyncio.sleep(0)
        return 2 * x

    def slow(x: int):
        ran.append("slow")
        return x

    nbtool.configure(lm=CountingLM(ran))
    return Agent(ran, double=double, slow=slow)


@pytest.fixture
def failing(ran):
    """Make a tool that fails until it is told not to."""

    async def look(x: int):
        ran.append("look")
        if x < 10:
            raise KeyError("temp")
        return x

    return nbtool.Tool(look)


def where(stops):
    return [(stop.place, stop.span.name) for stop in stops]


async def walk(session, command="step_into", limit=60):
    """Step to the end, always the branch that waits longest; return each place it stopped at."""
    seen = []
    for _ in range(limit):
        stops = await session.wait_paused(5)
        if not stops:
            return seen
        seen.append((stops[0].place, stops[0].span.name))
        getattr(session, command)()
    raise AssertionError(seen)


@pytest.fixture(name="walk")
def walk_fixture():
    return walk


@pytest.fixture(name="where")
def where_fixture():
    return where
