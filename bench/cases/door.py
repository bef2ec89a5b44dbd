"""What the door costs in a kernel, what it leaves behind, and how fast a cell is stopped."""

from __future__ import annotations

import functools
from typing import Any

from bench.environments import own
from bench.registry import Pair, case


@functools.cache
def _measured() -> dict[str, Any]:
    """Measure once for all cases of this file: they come from the same kernels."""
    return own().report("nbtool_door.py")


@case(name="run(noop) in a cell, above a bare await", unit="us", target=30.0)
def run_noop() -> float:
    """Cross the door with a coroutine that does nothing, best of 20 times 500."""
    return _measured()["run_noop_above_await_us"]


@case(name="memory growth over 10,000 runs in a cell", unit="MB", target=0.5)
def growth() -> float:
    """Cross the door 10,000 times and see what is still allocated."""
    return _measured()["growth_mb"]


@case(name="100,000 task switches after 1,000 runs", unit="s", target=1.05, against="plain kernel")
def switches() -> Pair:
    """Switch tasks in a kernel that used the door, beside one that never imported nbtool."""
    measured = _measured()
    return Pair(measured["switches_s"], measured["plain_switches_s"])


@case(name="interrupt to prompt, worst of 10", unit="s", target=0.5)
def interrupt() -> float:
    """Interrupt a cell that waits on a quiet loop, by a sync call and by await in turn."""
    return _measured()["stop_s"]
