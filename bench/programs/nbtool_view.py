"""Measure what a live view costs a kernel while a program runs in one of its cells.

The argument is the kernel's interpreter.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from stopwatch import report

import nbtool
from nbtool.testing import Kernel

SPANS, PER_S = 10_000, 1_000

SETUP = f"""
import asyncio, json, time
import nbtool
from nbtool.tracing.boundary import traced

text = ("The step was told this, and says it again. " * 5)[:200]

async def step(text):
    return text

async def program():
    start = time.perf_counter()
    for number in range({SPANS}):
        await traced("tool", f"tool {{number % 9}}", step, {{"text": text}})
        ahead_s = number / {PER_S} - (time.perf_counter() - start)
        if ahead_s > 0.005:
            await asyncio.sleep(ahead_s)

async def cpu_us(show):
    nbtool.configure(show_trace=show)
    start = time.process_time()
    await traced("module", "Program", program, {{}})
    await asyncio.sleep(0.2)
    return (time.process_time() - start) / {SPANS} * 1e6
"""
# The first view loads what it needs; that is what `first paint` measures.
WARM = """
import nbtool.views.widget
nbtool.configure(show_trace="always")
await traced("module", "Warm", asyncio.sleep, {"delay": 1.0})
await asyncio.sleep(2)
"""
HIDDEN = "print(json.dumps(await cpu_us('never')))"
SHOWN = "print(json.dumps(await cpu_us('always')))"


def figure(kernel: Kernel, code: str) -> Any:
    """Run a cell that prints one JSON value."""
    result = kernel.run(code, timeout_s=120)
    assert result.status == "ok", result
    return json.loads(result.stdout)


def watched_figure(kernel: Kernel, code: str) -> Any:
    """Run a cell as a page does that greets the view in it."""
    cell = kernel.outputs_of(kernel.submit(code))
    kernel.wait_until(lambda: cell.displays)
    view = cell.displays[0].data["application/vnd.jupyter.widget-view+json"]
    hello = {"method": "custom", "content": {"t": "hello", "have": 0}}
    kernel.send("comm_msg", {"comm_id": view["model_id"], "data": hello})
    kernel.wait_until(lambda: cell.ended, timeout_s=120)
    assert cell.status == "ok", cell
    return json.loads(cell.stdout)


def main() -> None:
    """Measure, and report."""
    checkout = [Path(nbtool.__file__).parents[1]]
    with Kernel(sys.argv[1], import_from=checkout) as kernel:
        kernel.run(SETUP)
        kernel.run(WARM)
        hidden, shown = figure(kernel, HIDDEN), watched_figure(kernel, SHOWN)
        report(view_us=shown - hidden, hidden_us=hidden, shown_us=shown)


main()
