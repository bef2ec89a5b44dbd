"""Time steps that do nothing: plain, below a debugger without a match, stepped and replayed."""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from stopwatch import report

import nbtool

STEPS, REPEATS = 2_000, 7


class Long(nbtool.Module):
    """Call a tool again and again."""

    def __init__(self, count: int = STEPS) -> None:
        self.count = count
        self.tool = nbtool.Tool(nothing)

    async def aforward(self) -> float:
        """Return the seconds of one step."""
        start_s = time.perf_counter()
        for _ in range(self.count):
            await self.tool.acall()
        return (time.perf_counter() - start_s) / self.count


async def nothing() -> None:
    """Do nothing."""


async def debugged() -> float:
    """Run below a debugger whose breakpoint matches no step."""
    breakpoints = [nbtool.Breakpoint(name="somebody", at="after")]
    return await nbtool.debug(Long().acall(), breakpoints=breakpoints)


async def step_to_pause() -> float:
    """Return the longest time from a step command to the next pause, in seconds."""
    session = nbtool.debug(Long(50).acall(), stop_first=True)
    longest_s = 0.0
    await session.wait_paused()
    while session.state == "paused":
        start_s = time.perf_counter()
        session.step_into()
        await session.wait_paused()
        longest_s = max(longest_s, time.perf_counter() - start_s)
    return longest_s


async def replayed() -> float:
    """Return the seconds in which 1,000 steps are replayed from a file."""
    call = Long(1_000).acall()
    await call
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        call.trace.save(path)
        start_s = time.perf_counter()
        await nbtool.replay(Long(1_000), path)
        return time.perf_counter() - start_s


async def main() -> None:
    """Measure, the two kinds of run in turn, and report."""
    plain, below = [], []
    for _ in range(REPEATS):
        plain.append(await Long().acall())
        below.append(await debugged())
    report(
        above_plain_us=(min(below) - min(plain)) * 1e6,
        plain_us=min(plain) * 1e6,
        step_ms=await step_to_pause() * 1e3,
        replay_s=min([await replayed() for _ in range(3)]),
    )


asyncio.run(main())
