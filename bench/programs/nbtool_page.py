"""Measure a live view where a person sees it: in JupyterLab, in Chromium.

It needs what ``make browser`` installs. Frames are judged by the gaps between them, and long tasks
as the browser tells of them (more than 50 ms).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

from stopwatch import report

sys.path.append(str(Path(__file__).resolve().parents[2] / "tests" / "browser"))

import front_end

FEW, MANY = 10_000, 50_000

SETUP = """
import asyncio, pathlib, time
import nbtool
from nbtool.tracing.boundary import traced

nbtool.configure(show_trace="always")
text = ("The step was told this, and says it again. " * 5)[:200]

async def step(text):
    return text

async def steps(count, per_s):
    await asyncio.sleep(1)
    pathlib.Path("began").touch()
    start = time.perf_counter()
    for number in range(count):
        await traced("tool", f"tool {number % 9}", step, {"text": text})
        ahead_s = number / per_s - (time.perf_counter() - start)
        if ahead_s > 0.005:
            await asyncio.sleep(ahead_s)
    pathlib.Path("ended").touch()
    await asyncio.sleep(3)

async def program(**of):
    await traced("module", "Program", steps, of)
"""
SHORT = "await traced('module', 'Short', asyncio.sleep, {'delay': 1.0})"
PAINT = """i => new Promise((done, failed) => {
  const notebook = jupyterapp.shell.currentWidget.content;
  const cell = notebook.widgets[i].node;
  const start = performance.now();
  const look = () => {
    if (cell.querySelector('.nbt-row')) {
      requestAnimationFrame(() => setTimeout(() => done(performance.now() - start)));
    } else if (performance.now() - start > 20_000) failed(new Error('no view'));
    else requestAnimationFrame(look);
  };
  notebook.activeCellIndex = i;
  jupyterapp.commands.execute('notebook:run-cell');
  look();
})"""
WATCH = """() => {
  const seen = (window.__seen = { longest: 0, tasks: 0 });
  let last = performance.now();
  const tick = (now) => {
    seen.longest = Math.max(seen.longest, now - last);
    last = now;
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
  new PerformanceObserver((list) => { seen.tasks += list.getEntries().length; })
    .observe({ entryTypes: ['longtask'] });
}"""


def wait_for(notebook: front_end.Notebook, name: str, patience_s: float = 120.0) -> None:
    """Wait until a cell has written a file."""
    deadline_s = time.monotonic() + patience_s
    while not (notebook.folder / name).exists():
        if time.monotonic() > deadline_s:
            raise TimeoutError(name)
        notebook.page.wait_for_timeout(50)


def crowd(open_notebook: Any, count: int, per_s: int) -> dict[str, Any]:
    """Let a program with many steps run; returns what the page did meanwhile."""
    notebook = open_notebook(SETUP, f"await program(count={count}, per_s={per_s})")
    notebook.run(0)
    notebook.start(1)
    wait_for(notebook, "began")
    notebook.page.evaluate(WATCH)
    wait_for(notebook, "ended")
    notebook.page.wait_for_timeout(1_500)
    seen = notebook.page.evaluate("window.__seen")
    seen["has_all"] = f"{count + 1:,} steps" in notebook.text(1)
    notebook.close()
    return seen


def paints(open_notebook: Any) -> list[float]:
    """Return the milliseconds from running a cell to its first row, for ten cells in a row."""
    notebook = open_notebook(SETUP, *[SHORT] * 10)
    notebook.run(0)
    took_ms = []
    for cell in range(1, 11):
        took_ms.append(notebook.page.evaluate(PAINT, cell))
        notebook.wait_for(cell)
        notebook.page.wait_for_timeout(300)
    notebook.close()
    return took_ms


def main() -> None:
    """Measure, and report."""
    server = front_end.Server("newest", Path(sys.executable))
    try:
        with front_end.launched() as browser:
            context = browser.new_context(viewport={"width": 1200, "height": 900})
            context.set_default_timeout(60_000)

            def open_notebook(*cells: str) -> front_end.Notebook:
                return front_end.Notebook(server, context, cells)

            fresh = [paints(open_notebook) for _ in range(3)]
            few, many = crowd(open_notebook, FEW, 1_000), crowd(open_notebook, MANY, 5_000)
    finally:
        server.close()
    report(
        first_ms=sorted(each[0] for each in fresh)[1],
        tenth_ms=sorted(each[-1] for each in fresh)[1],
        longest_frame_ms=few["longest"],
        long_tasks=few["tasks"],
        has_all=few["has_all"] and many["has_all"],
        longest_frame_of_many_ms=many["longest"],
    )


main()
