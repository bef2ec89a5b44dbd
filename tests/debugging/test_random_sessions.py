"""Random programs under random commands: nothing hangs, nothing is lost, nothing runs twice.

``NBTOOL_EXAMPLES=2000`` looks longer. `expected` is the reference: what a program returns.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import dataclasses
import os

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

import nbtool
from nbtool.debugging.gate import ChainGate
from nbtool.debugging.stops import Stop
from nbtool.errors import DebugError
from nbtool.runtime import threads

EXAMPLES = int(os.environ.get("NBTOOL_EXAMPLES", "200"))
HANGS_S = 10.0
MOST_ROUNDS = 100


@dataclasses.dataclass(frozen=True)
class Node:
    """Be a step: a tool, or a module whose children run one after another or side by side."""

    kind: str
    children: tuple = ()
    turns: int = 0
    failures: int = 0


LEAVES = st.builds(
    Node,
    kind=st.sampled_from(["async tool", "thread tool"]),
    turns=st.integers(0, 3),
    failures=st.sampled_from([0, 0, 0, 1, 2]),
)


def grown(inner):
    children = st.lists(inner, min_size=1, max_size=4).map(tuple)
    kinds = st.sampled_from(["sequence", "gather", "sync module"])
    return st.builds(Node, kind=kinds, children=children)


PROGRAMS = st.recursive(LEAVES, grown, max_leaves=10)
COMMANDS = st.lists(
    st.tuples(
        st.sampled_from(
            ["step_into", "step_over", "step_out", "resume", "resume one", "pause", "edit", "retry"]
        ),
        st.integers(0, 5),
    ),
    max_size=25,
)
BREAKPOINTS = st.lists(st.sampled_from(["tool", "module", "(0,)", "(0, 1)"]), max_size=2)


class Program(nbtool.Module):
    """Run a node; each step is named by its path, and counted in `ran`."""

    def __init__(self, node, path, ran):
        self.node, self.path, self.ran = node, path, ran
        self.parts = [step_of(child, (*path, i), ran) for i, child in enumerate(node.children)]

    @property
    def span_name(self):
        return str(self.path)

    async def aforward(self):
        self.ran[self.path] += 1
        if self.node.kind == "gather":
            return list(await asyncio.gather(*[run_part(part) for part in self.parts]))
        return [await run_part(part) for part in self.parts]


class SyncProgram(Program):
    aforward = nbtool.Module.aforward

    def forward(self):
        self.ran[self.path] += 1
        return [part() if isinstance(part, Program) else part(x=0) for part in self.parts]


def run_part(part):
    return part.acall() if isinstance(part, Program) else part.acall(x=0)


def step_of(node, path, ran):
    if node.children:
        kind = SyncProgram if node.kind == "sync module" else Program
        return kind(node, path, ran)

    def enter(x):
        ran[path] += 1
        if ran[path] <= node.failures:
            raise ValueError(path)
        return x

    async def tool(x):
        for _ in range(node.turns):
            await asyncio.sleep(0)
        return enter(x)

    chosen = tool if node.kind == "async tool" else enter
    return nbtool.Tool(chosen, name=str(path), args={"x": {"type": "integer"}})


def expected(node, path, edits):
    """Return what a node gives: the reference interpreter."""
    if not node.children:
        return edits.get(str(path), 0)
    return [expected(child, (*path, i), edits) for i, child in enumerate(node.children)]


def counted(node, path):
    """Give each step with how often it has to run: once, and once more for each failure."""
    yield path, 1 + node.failures
    for number, child in enumerate(node.children):
        yield from counted(child, (*path, number))


def obey(session, command, number, edits):
    """Do one command for one of the branches that wait; what means nothing is refused."""
    stops = session.paused
    stop = stops[number % len(stops)] if stops else None
    with contextlib.suppress(DebugError):
        if command == "resume one":
            session.resume(stop)
        elif command in ("resume", "pause"):
            getattr(session, command)()
        elif command == "retry":
            retry(session, stop)
        elif command == "edit":
            session.edit(stop, inputs={"x": number})
            edits[stop.span.name] = number
        else:
            getattr(session, command)(stop)


def retry(session, stop):
    if stop is not None and stop.place == "failed":
        session.retry(stop)


async def finish(session):
    """Let the chain run to its end; each failure is retried."""
    session.breakpoints.clear()
    for _ in range(MOST_ROUNDS):
        stops = await session.wait_paused(HANGS_S)
        if not stops:
            return
        with contextlib.suppress(DebugError):
            session.resume()
        for stop in stops:
            retry(session, stop)
    raise AssertionError(f"{session} does not end: {session.paused}")


async def driven(node, commands, breakpoints, stops_at=None):
    """Run a program under commands; return its session, what ran, and what was edited."""
    ran, edits = collections.Counter(), {}
    root = Node("sequence", (node,))
    session = nbtool.debug(
        step_of(root, (), ran).acall(), breakpoints=list(breakpoints), stop_first=bool(commands)
    )
    for done, (command, number) in enumerate(commands):
        if not await session.wait_paused(HANGS_S):
            break
        if done == stops_at:
            session.stop()
            break
        obey(session, command, number, edits)
    if stops_at is None:
        await finish(session)
    return session, root, ran, edits


async def check(node, commands, breakpoints):
    with nbtool.context(async_max_workers=2):
        session, root, ran, edits = await driven(node, commands, breakpoints)
        result = await asyncio.wait_for(session, HANGS_S)

    assert result == expected(root, (), edits)
    assert ran == collections.Counter(dict(counted(root, ())))
    assert (session.state, session.paused) == ("finished", [])


async def check_stopping(node, commands, breakpoints, stops_at):
    with nbtool.context(async_max_workers=2):
        session, root, ran, _ = await driven(node, commands, breakpoints, stops_at)
        with contextlib.suppress(asyncio.CancelledError, ValueError):
            await asyncio.wait_for(finish_or_stop(session), HANGS_S)

    most = dict(counted(root, ()))
    assert [path for path, count in ran.items() if count > most[path]] == []
    assert session.paused == []


async def finish_or_stop(session):
    if session.ending is None and session.call.cancel():
        await asyncio.gather(session, return_exceptions=True)


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(node=PROGRAMS, commands=COMMANDS, breakpoints=BREAKPOINTS)
def test_debugged_program_gives_what_the_reference_gives(node, commands, breakpoints):
    asyncio.run(check(node, commands, breakpoints))


@settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
@given(node=PROGRAMS, commands=COMMANDS, breakpoints=BREAKPOINTS, at=st.integers(0, 10))
def test_stopped_program_leaves_nothing_behind(node, commands, breakpoints, at):
    asyncio.run(check_stopping(node, commands, breakpoints, at))


# -- the examples find what they are for ---------------------------------------------------------


def lose_a_wake_up(monkeypatch):
    tell = Stop.tell
    monkeypatch.setattr(Stop, "tell", lambda stop, how: stop.number % 9 and tell(stop, how))


def run_twice_after_retry(monkeypatch):
    output_of = ChainGate._output_of

    async def twice(gate, span, fn, is_first):
        if not is_first:
            await output_of(gate, span, fn, is_first)
        return await output_of(gate, span, fn, is_first)

    monkeypatch.setattr(ChainGate, "_output_of", twice)


def keep_the_slot_while_paused(monkeypatch):
    monkeypatch.setattr(threads.Job, "give_slot_back", lambda job: None)


BUGS = [lose_a_wake_up, run_twice_after_retry, keep_the_slot_while_paused]


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.__name__)
def test_seeded_bug_is_caught(bug, monkeypatch):
    monkeypatch.setitem(globals(), "HANGS_S", 1.0)
    bug(monkeypatch)

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(node=PROGRAMS, commands=COMMANDS, breakpoints=BREAKPOINTS)
    def examples(node, commands, breakpoints):
        asyncio.run(check(node, commands, breakpoints))

    with pytest.raises((AssertionError, TimeoutError, ValueError, ExceptionGroup)):
        examples()
