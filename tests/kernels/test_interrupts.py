"""The interrupt button: what ends, what goes on, and what state the kernel is in afterwards."""

from __future__ import annotations

import os
import random
import re
import time

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.behaviour(20)]

PROMPT_S = 2.0  # aimed at: 0.5, which `record_property` shows; a busy machine needs more

CHAINS = """
async def sleeping():
    await asyncio.sleep(60)

async def gathering():
    await asyncio.gather(*[watched(sleeping()) for _ in range(3)])

async def grouping():
    async with asyncio.TaskGroup() as group:
        for _ in range(3):
            group.create_task(watched(sleeping()))

async def blocking():
    time.sleep(60)

async def nesting():
    run(watched(sleeping()))

async def blocking_child():
    await asyncio.gather(nbtool.Tool(blocking).acall(), watched(sleeping()))

async def blocking_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(nbtool.Tool(blocking).acall())
        group.create_task(sleeping())

async def blocking_by_turns():
    def turn(): log.append("turn"); time.sleep(0.4)
    async def child(): turn()
    await asyncio.gather(*[child() for _ in range(10)])

async def raw_blocking_child():
    async with asyncio.TaskGroup() as group:
        group.create_task(blocking())
        group.create_task(sleeping())

async def threading_tool():
    await nbtool.Tool(lambda: threading.Event().wait(0.4), name="wait").acall()
    await sleeping()

async def swallowing():
    while len(log) < 9:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            log.append("swallowed")

async def watched(chain):
    log.append("started")
    try:
        await chain
    finally:
        log.append("ended")

async def begun(chain):
    loop.call_later(0.05, lambda: print("on", flush=True))
    await watched(chain())

class Chain(nbtool.Module):
    async def aforward(self, chain):
        await begun(chain)

chain = Chain()
tell = print
"""


@pytest.fixture
def page(notebook):
    made = notebook.run(CHAINS + "\nlog.clear()")
    assert made.status == "ok", made.traceback
    return Page(notebook)


class Page:
    """Interrupts cells, and looks at the kernel afterwards."""

    def __init__(self, kernel):
        self.kernel = kernel

    def start(self, code):
        """Send a cell, and wait until its chain has said that it is on."""
        cell = self.kernel.outputs_of(self.kernel.submit(f"print('cell', flush=True)\n{code}"))
        said = "cell" if "blocking" in code else "on"
        self.kernel.wait_until(lambda: said in cell.stdout, timeout_s=5)
        time.sleep(0.1)
        return cell

    def interrupt(self, cell):
        """Press the button, and return after how many seconds the cell had ended."""
        began_s = time.monotonic()
        self.kernel.interrupt()
        self.kernel.wait_for(cell.msg_id, timeout_s=10)
        return time.monotonic() - began_s

    def value(self, code):
        return self.kernel.run(code, timeout_s=5).result_text


WAYS = {
    "run": "run(begun({chain}))",
    "call": "chain({chain})",
    "result": "chain.acall({chain}).result()",
    "await": "await chain.acall({chain})",
    "await main": "async def main(): await chain.acall({chain})\nawait main()",
    "asyncio.run": "async def main(): await chain.acall({chain})\nasyncio.run(main())",
}
ENDED = ["sleeping", "gathering", "grouping", "nesting", "threading_tool", "blocking"]


@pytest.mark.parametrize("chain", ENDED)
@pytest.mark.parametrize("way", WAYS)
def test_first_interrupt_ends_the_cell_and_all_of_its_chain(page, record_property, way, chain):
    cell = page.start(WAYS[way].format(chain=chain))
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted", "InterruptedWait"}
    assert page.value("log.count('started'), log.count('ended')") in {"(1, 1)", "(2, 2)", "(4, 4)"}
    assert took_s < PROMPT_S


UNSEEN = """
import signal, threading, time
def interrupt_unseen():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)
threading.Thread(target=interrupt_unseen).start()
"""


@pytest.mark.parametrize("way", WAYS)
def test_interrupt_that_finds_the_loop_asleep_unawares_is_not_lost(page, way):
    cell = page.start(UNSEEN + WAYS[way].format(chain="sleeping"))
    page.kernel.wait_for(cell.msg_id, timeout_s=10)

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted", "InterruptedWait"}


@pytest.mark.parametrize("way", ["run", "call", "await"])
def test_first_interrupt_ends_a_step_that_blocks_in_a_child_task(page, record_property, way):
    cell = page.start(WAYS[way].format(chain="blocking_child"))
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))

    assert cell.status == "error"
    assert page.value("log.count('started') == log.count('ended')") == "True"
    assert took_s < PROMPT_S


@pytest.mark.parametrize("way", ["run", "call", "await"])
def test_child_tasks_that_have_not_begun_at_the_interrupt_never_begin(page, way):
    cell = page.start(WAYS[way].format(chain="blocking_by_turns"))
    page.interrupt(cell)

    assert cell.status == "error"
    assert page.value("log.count('turn') < 3") == "True"


@pytest.mark.parametrize("way", ["run", "call"])
def test_second_interrupt_ends_any_code_that_blocks_in_a_child_task(page, record_property, way):
    cell = page.start(WAYS[way].format(chain="raw_blocking_child"))
    page.kernel.interrupt()
    time.sleep(0.2)
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted"}
    assert page.value("log") == "['started', 'ended']"
    assert took_s < PROMPT_S


@pytest.mark.parametrize("way", ["run", "call"])
def test_second_interrupt_abandons_a_chain_that_swallows_the_first(page, record_property, way):
    cell = page.start(WAYS[way].format(chain="swallowing"))
    page.kernel.interrupt()
    time.sleep(0.3)
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))

    assert cell.error_name in {"KeyboardInterrupt", "Interrupted"}
    assert "has not ended yet" in cell.error_value + cell.traceback
    assert took_s < PROMPT_S
    page.kernel.run(
        "log.extend(['enough'] * 9)\nnbtool.stop()\nfor task in asyncio.all_tasks():\n"
        "    'guarded' in repr(task) and task.cancel()"
    )


def test_awaiting_cell_leaves_a_chain_that_swallows_the_first(page, record_property):
    cell = page.start(WAYS["await"].format(chain="swallowing"))
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))

    assert "has not ended yet" in cell.error_value + cell.traceback
    assert took_s < PROMPT_S
    page.kernel.run("log.extend(['enough'] * 9)\nnbtool.stop()\nawait later()")


GATHERED = {
    "gather": "await asyncio.gather(*[chain.acall(sleeping) for _ in range(3)])",
    "TaskGroup": (
        "async with asyncio.TaskGroup() as group:\n"
        "    for _ in range(3): group.create_task(chain.acall(sleeping))"
    ),
    "main": (
        "async def main(): await asyncio.gather(*[chain.acall(sleeping) for _ in range(3)])\n"
        "await main()"
    ),
    "sync": "run(asyncio.wait({asyncio.ensure_future(chain.acall(sleeping))}))",
    "blocking": "await asyncio.gather(chain.acall(sleeping), chain.acall(blocking))",
}


@pytest.mark.parametrize("code", list(GATHERED.values()), ids=GATHERED)
def test_interrupt_ends_calls_that_a_cell_waits_for_together(page, record_property, code):
    cell = page.start(code)
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))
    page.kernel.run("nbtool.stop(), [t.cancel() for t in asyncio.all_tasks() if 'Call' in repr(t)]")

    assert cell.status == "error"
    assert page.value("log.count('started') == log.count('ended')") == "True"
    assert took_s < PROMPT_S


OTHER = {
    "blocking": "print('on', flush=True)\ntime.sleep(60)",
    "await": "print('on', flush=True)\nawait asyncio.sleep(60)",
    "run": "run(begun(sleeping))",
}


@pytest.mark.parametrize("code", OTHER.values(), ids=OTHER)
def test_background_chain_outlives_an_interrupt_of_another_cell(page, record_property, code):
    page.kernel.run("call = nbtool.Tool(lambda: None, name='none')\nkept = chain.acall(sleeping)")
    cell = page.start(code)
    took_s = page.interrupt(cell)
    record_property("prompt_s", round(took_s, 2))

    assert cell.status == "error"
    assert page.value("kept.done(), nbtool.stop(), len(log)")[:11] == "(False, 1, "
    assert page.value("await later()\nkept.cancelled()") == "True"
    assert took_s < PROMPT_S


def test_parked_background_task_outlives_an_interrupt_of_another_cell(page):
    page.kernel.run(
        "async def sync(): return run(later('kept', 2))\nkept = loop.create_task(sync())"
    )
    cell = page.start(OTHER["await"])
    page.interrupt(cell)

    assert cell.status == "error"
    assert page.value("await kept") == "'kept'"


def test_interrupt_at_idle_leaves_a_background_chain_alone(page):
    page.kernel.run("kept = chain.acall(sleeping)")
    time.sleep(0.1)
    page.kernel.interrupt()
    time.sleep(0.1)

    assert page.value("await later()\nkept.done(), nbtool.stop()") == "(False, 1)"


@pytest.mark.parametrize("tool", ["blocking", "blocking_child"])
def test_interrupt_at_idle_ends_a_background_chain_that_blocks(page, record_property, tool):
    started = page.kernel.run(f"kept = chain.acall({tool})\nprint('cell')")
    time.sleep(0.3)
    began_s = time.monotonic()
    page.kernel.interrupt()

    assert page.value("kept.done() or await asyncio.wait([kept._task])") is not None
    record_property("prompt_s", round(time.monotonic() - began_s, 2))
    assert page.value("kept.exception() or kept.cancelled()") is not None
    assert started.status == "ok"
    assert time.monotonic() - began_s < PROMPT_S


def test_interrupted_cells_queue_is_refused_and_the_next_cell_runs(page):
    cell = page.start(WAYS["run"].format(chain="sleeping"))
    queued = page.kernel.submit("log.append('queued')")
    page.interrupt(cell)

    assert page.kernel.wait_for(queued).status == "aborted"
    assert page.value("run(later('next'))") == "'next'"


@pytest.mark.parametrize("chain", ["sleeping", "blocking_group"])
def test_interrupted_cell_shows_one_line(page, chain):
    cell = page.start(WAYS["await"].format(chain=chain))
    page.interrupt(cell)

    assert cell.traceback == "KeyboardInterrupt: Chain was cancelled."


RANDOM = """
def build(choice, depth=0):
    async def step():
        await later(s=choice.uniform(0.001, 0.05))
    def tool(): time.sleep(choice.uniform(0.001, 0.2))
    def sync(): run(build(choice, depth + 1))
    async def group():
        async with asyncio.TaskGroup() as tasks:
            for _ in range(3): tasks.create_task(build(choice, depth + 1))
    async def gather():
        await asyncio.gather(*[build(choice, depth + 1) for _ in range(3)])
    async def nested(): sync()
    async def threaded(): await nbtool.Tool(tool, name="tool").acall()
    async def blocking(): tool()
    async def synced(): await nbtool.Tool(sync, name="sync").acall()
    kinds = [step, threaded, blocking, *([group, gather, nested, synced] if depth < 3 else [])]
    async def some():
        for _ in range(3): await choice.choice(kinds)()
    return some()

async def forever(choice):
    print("on", flush=True)
    while True: await build(choice)

class Forever(nbtool.Module):
    async def aforward(self, seed):
        import random
        await forever(random.Random(seed))
forever_module = Forever()
"""
RANDOM_WAYS = (
    "forever_module({seed})",
    "await forever_module.acall({seed})",
    "import random; run(forever(random.Random({seed})))",
    "await asyncio.gather(forever_module.acall({seed}), forever_module.acall({seed} + 1))",
)


def test_random_interrupts_of_random_chains_leave_a_kernel_that_works(page, record_property):
    seed = int(os.environ.get("NBTOOL_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
    record_property("seed", seed)
    choice = random.Random(seed)  # noqa: S311 - no secret
    page.kernel.run(RANDOM)
    took = [struck(page, choice, number) for number in range(interrupts())]
    record_property("worst_prompt_s", round(max(took), 2))
    record_property("interrupts", len(took))

    assert re.search("never retrieved|was destroyed", page.kernel.log) is None


def interrupts():
    return int(os.environ.get("NBTOOL_INTERRUPTS", "20"))


def struck(page, choice, number):
    """Interrupt one random chain at a random moment, twice where it takes long."""
    code = choice.choice(RANDOM_WAYS).format(seed=choice.randrange(10**6))
    cell = page.kernel.outputs_of(page.kernel.submit(code))
    page.kernel.wait_until(lambda: "on" in cell.stdout, timeout_s=5)
    time.sleep(choice.uniform(0, 0.4))
    took_s = page.interrupt(cell)
    told = f"interrupt {number} of {code!r}"
    assert cell.status == "error", told
    assert page.value("run(later('alive', 0.25))") == "'alive'", told
    assert page.value("left_over()") == "set()", told
    return took_s
