"""What the door costs in kernels, what it leaves behind, and how fast a cell is stopped."""

from __future__ import annotations

import functools
from typing import Any

from bench.environments import kernel_python, own
from bench.registry import Pair, case

# As the conformance suite makes them: the newest, and what hosts pin.
KERNELS = ("newest", "ipykernel73", "databricks", "colab")


@functools.cache
def _measured(kernel: str) -> dict[str, Any]:
    """Measure a kernel once for all cases of this file."""
    return own().report("nbtool_door.py", str(kernel_python(kernel)))


def _register(kernel: str) -> None:
    @case(name=f"run(noop) in a cell above a bare await ({kernel})", unit="us", target=30.0)
    def run_noop() -> float:
        """Cross the door with a coroutine that does nothing, best of 20 times 500."""
        return _measured(kernel)["run_noop_above_await_us"]

    @case(name=f"memory growth over 10,000 runs ({kernel})", unit="MB", target=0.5)
    def growth() -> float:
        """Cross the door 10,000 times and see what is still allocated."""
        return _measured(kernel)["growth_mb"]

    @case(
        name=f"100,000 task switches after 1,000 runs ({kernel})",
        unit="s",
        target=1.05,
        against="plain kernel",
    )
    def switches() -> Pair:
        """Switch tasks in a kernel that used the door, beside one that never imported nbtool."""
        measured = _measured(kernel)
        return Pair(measured["switches_s"], measured["plain_switches_s"])

    @case(name=f"interrupt to prompt, worst of 10 ({kernel})", unit="s", target=0.5)
    def interrupt() -> float:
        """Interrupt a cell that waits on a quiet loop, by a sync call and by await in turn."""
        return _measured(kernel)["stop_s"]


for _kernel in KERNELS:
    _register(_kernel)
