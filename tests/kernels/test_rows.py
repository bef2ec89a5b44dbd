"""Many rows in real kernels: in cells of every kind, shown, and interrupted."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel
PROMPT_S = 2.0

PROGRAMS = """
class Double(nbtool.Module):
    async def aforward(self, x, s=0.01):
        log.append(x)
        await asyncio.sleep(s)
        return 2 * x

class Sync(nbtool.Module):
    def forward(self, x):
        return 2 * x

class Waits(nbtool.Module):
    async def aforward(self, x):
        log.append(x)
        print("begun", flush=True)
        try:
            await asyncio.sleep(60)
        finally:
            log.append("ended")

class Blocks(nbtool.Module):
    async def aforward(self, x):
        log.append(x)
        print("begun", flush=True)
        time.sleep(60)

async def all_of(program, rows, **options):
    return [result async for result in nbtool.amap(program, rows, **options)]

rows = [{"x": x} for x in range(6)]
quiet = {"disable_progress_bar": True}
log.clear()
"""
DOUBLED = "[0, 2, 4, 6, 8, 10]"


@pytest.fixture
def page(notebook):
    made = notebook.run(PROGRAMS)
    assert made.status == "ok", made.traceback
    return notebook


CELLS = {
    "batch": "Double().batch(rows, **quiet)",
    "batch of a synchronous program": "Sync().batch(rows, **quiet)",
    "abatch": "await Double().abatch(rows, **quiet)",
    "abatch in the background": "call = Double().abatch(rows, **quiet)\nawait call",
    "Parallel": "nbtool.Parallel(**quiet)([(Double(), row) for row in rows])",
    "amap": "[result async for result in nbtool.amap(Double(), rows)]",
    "amap of a synchronous program": "[result async for result in nbtool.amap(Sync(), rows)]",
    "amap in asyncio.run": "asyncio.run(all_of(Double(), rows))",
    "amap in a synchronous cell": "run(all_of(Double(), rows))",
    "amap in a task": "task = asyncio.create_task(all_of(Double(), rows))\nawait task",
}


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
def test_rows_run_in_every_kind_of_cell(page, code):
    cell = page.run(code)

    assert (cell.result_text, cell.error_value) == (DOUBLED, "")


def test_batch_made_in_a_cell_starts_at_once_and_runs_on(page):
    page.run("call = Double().abatch(rows, **quiet)")

    assert page.run("run(later(s=0.2))\nlog, call.done()").result_text.endswith("True)")
    assert page.run("await call").result_text == DOUBLED


def test_map_goes_on_in_the_next_cell(page):
    page.run("mapped = nbtool.amap(Double(), rows)\nfirst = await anext(mapped)")

    cell = page.run("[first] + [result async for result in mapped]")
    assert cell.result_text == DOUBLED


def test_evaluation_is_shown_as_a_table(page):
    page.run("devset = [nbtool.Example(x=x, y='<b>').with_inputs('x') for x in range(3)]")
    cell = page.run("nbtool.evaluate(Double(), devset, lambda example, result: result < 3)")
    shown = cell.result.data

    assert "score=66.67" in shown["text/plain"]
    assert "<b>66.67 %</b> of 3 examples" in shown["text/html"]
    assert "&lt;b&gt;" in shown["text/html"]


def test_line_of_progress_is_text_of_the_cell(page):
    cell = page.run("found = Double().batch(rows)")

    assert "Double.batch: 100%" in cell.stdout
    assert "6/6" in cell.stdout
    assert cell.stderr == ""


def test_stop_ends_every_row(page):
    page.run("call = Waits().abatch(rows, num_threads=3, **quiet)")
    page.run("await later(s=0.1)")

    assert page.run("nbtool.stop()").result_text == "1"
    assert page.run("await later(s=0.2)\nlog").result_text == (
        "[0, 1, 2, 'ended', 'ended', 'ended']"
    )


INTERRUPTED = {
    "batch": "Waits().batch(rows, num_threads=3, **quiet)",
    "abatch": "await Waits().abatch(rows, num_threads=3, **quiet)",
    "amap": "[result async for result in nbtool.amap(Waits(), rows, concurrency=3)]",
    "amap in a synchronous cell": "run(all_of(Waits(), rows, concurrency=3))",
}


def interrupted(page, code):
    """Press the button when a row has begun; return the cell and how long it took to end."""
    cell = page.outputs_of(page.submit(code))
    page.wait_until(lambda: "begun" in cell.stdout, timeout_s=5)
    time.sleep(0.2)
    began_s = time.monotonic()
    page.interrupt()
    page.wait_for(cell.msg_id, timeout_s=10)
    return cell, time.monotonic() - began_s


@pytest.mark.parametrize("code", INTERRUPTED.values(), ids=INTERRUPTED)
def test_interrupt_ends_every_row(page, code):
    cell, took_s = interrupted(page, code)

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted", "InterruptedWait"}
    assert took_s < PROMPT_S
    assert page.run("log").result_text == "[0, 1, 2, 'ended', 'ended', 'ended']"


@pytest.mark.parametrize("code", INTERRUPTED.values(), ids=INTERRUPTED)
def test_interrupt_ends_a_row_that_blocks_and_no_other_begins(page, code):
    cell, took_s = interrupted(page, code.replace("Waits", "Blocks"))

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted", "InterruptedWait"}
    assert took_s < PROMPT_S
    assert page.run("log").result_text == "[0]"
