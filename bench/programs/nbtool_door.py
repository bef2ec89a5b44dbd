"""Measure the door in a real kernel: what it costs, what it leaves, and how fast it is stopped.

The figures come from one kernel, whose cells run the code below; each is a median or a best of
several, as its name says in the report. The argument is the kernel's interpreter.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from stopwatch import report

import nbtool
from nbtool.testing import Kernel

SETUP = """
import asyncio, gc, json, time, tracemalloc
import nbtool

async def noop():
    return 1

def us_per_call(call, n):
    start = time.perf_counter()
    for _ in range(n):
        call()
    return (time.perf_counter() - start) / n * 1e6

def run_once():
    nbtool.run(noop())

async def switches(n):
    async def loop():
        for _ in range(n // 10):
            await asyncio.sleep(0)
    start = time.perf_counter()
    await asyncio.gather(*(loop() for _ in range(10)))
    return time.perf_counter() - start

us_per_call(run_once, 200)
"""

RUN_NOOP = """
print(json.dumps(min(us_per_call(run_once, 500) for _ in range(20))))
"""

BARE_AWAIT = """
best = 1e9
for _ in range(20):
    start = time.perf_counter()
    for _ in range(500):
        await noop()
    best = min(best, (time.perf_counter() - start) / 500 * 1e6)
print(json.dumps(best))
"""

GROWTH = """
us_per_call(run_once, 2000)
gc.collect(); tracemalloc.start()
before = tracemalloc.get_traced_memory()[0]
us_per_call(run_once, 10_000)
gc.collect()
print(json.dumps((tracemalloc.get_traced_memory()[0] - before) / 1e6)); tracemalloc.stop()
"""

SWITCHES = "print(json.dumps(min([await switches(100_000) for _ in range(7)])))"

INTERRUPTED = """
async def long():
    await asyncio.sleep(60)
{call}
"""


def figure(kernel: Kernel, code: str) -> Any:
    """Run a cell that prints one JSON value."""
    result = kernel.run(code, timeout_s=120)
    assert result.status == "ok", result
    return json.loads(result.stdout)


def seconds_to_prompt(kernel: Kernel, call: str) -> float:
    """Interrupt a cell that waits, and time until it has ended."""
    cell = kernel.submit(INTERRUPTED.format(call=call))
    time.sleep(0.7)
    start = time.perf_counter()
    kernel.interrupt()
    kernel.wait_for(cell)
    return time.perf_counter() - start


def main() -> None:
    """Measure, and report."""
    python, checkout = sys.argv[1], [Path(nbtool.__file__).parents[1]]
    with Kernel(python, import_from=checkout) as plain:
        plain.run(SETUP.replace("import nbtool", "").replace("us_per_call(run_once, 200)", ""))
        with Kernel(python, import_from=checkout) as kernel:
            kernel.run(SETUP)
            # Alternately, so that both see the same machine.
            pairs = [(figure(kernel, SWITCHES), figure(plain, SWITCHES)) for _ in range(9)]
            door_us = figure(kernel, RUN_NOOP)
            await_us = figure(kernel, BARE_AWAIT)
            growth_mb = figure(kernel, GROWTH)
            stops = [
                seconds_to_prompt(kernel, call)
                for call in ("nbtool.run(long())", "await nbtool.Tool(long).acall()") * 5
            ]
    report(
        version=nbtool.__version__,
        run_noop_above_await_us=door_us - await_us,
        growth_mb=growth_mb,
        switches_s=min(own for own, _ in pairs),
        plain_switches_s=min(other for _, other in pairs),
        stop_s=max(stops),
        stop_median_s=statistics.median(stops),
    )


main()
