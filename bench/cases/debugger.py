"""What the debugger costs, how fast it steps, and how fast a recording is replayed."""

from __future__ import annotations

import functools
from typing import Any

from bench.environments import own
from bench.registry import case


@functools.cache
def _measured() -> dict[str, Any]:
    """Measure once for all cases of this file."""
    return own().report("nbtool_debugger.py")


@case(name="debugger without a match, above a step without it", unit="us", target=5.0)
def debugger_cost() -> float:
    """Call a tool that does nothing, in turn with and without a debugger, best of 7."""
    return _measured()["above_plain_us"]


@case(name="step command to next pause, longest of 100", unit="ms", target=100.0)
def step_latency() -> float:
    """Step through a chain whose steps take no time."""
    return _measured()["step_ms"]


@case(name="replay of 1,000 steps from a file", unit="s", target=1.0)
def replay_time() -> float:
    """Load a recording and run its program again, best of 3."""
    return _measured()["replay_s"]
