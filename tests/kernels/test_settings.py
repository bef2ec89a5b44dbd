"""Settings in real kernels: cells may always configure, chains never."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.api("configure")]

CHANGE = """
def change(n):
    nbtool.configure(num_threads=n)
    return nbtool.settings.num_threads

async def change_later(n):
    await asyncio.sleep(0)
    return change(n)

async def hold():
    change(1)
    await stop.wait()

class Inline(nbtool.Module):
    def forward(self, n):
        return change(n)

class Chain(nbtool.Module):
    async def aforward(self, n):
        return await change_later(n)

def refused(call):
    try:
        return call()
    except nbtool.SettingsOwnershipError as error:
        return str(error)

async def arefused(call):
    try:
        return await call
    except nbtool.SettingsOwnershipError as error:
        return str(error)
"""


@pytest.fixture
def page(notebook):
    made = notebook.run(CHANGE)
    assert made.status == "ok", made.traceback
    return notebook


CELLS = {
    "plain": "change({n})",
    "after an await": "await asyncio.sleep(0)\nchange({n})",
    "coroutine": "await change_later({n})",
    "task": "await asyncio.create_task(change_later({n}))",
    "asyncio.run": "asyncio.run(change_later({n}))",
    "door": "run(change_later({n}))",
    "synchronous program": "Inline()({n})",
    "background task": (
        "t = asyncio.create_task(change_later({n}))\nawait asyncio.wait([t])\nt.result()"
    ),
}


@pytest.mark.parametrize("code", CELLS.values(), ids=CELLS)
def test_cell_may_configure_in_whatever_task_it_runs(page, code):
    page.run("stop = asyncio.Event()\nother = asyncio.create_task(hold())\nawait later()")
    results = [page.run(code.format(n=n)).result_text for n in (2, 3)]
    page.run("stop.set()\nawait other")

    assert results == ["2", "3"]


@pytest.mark.parametrize(
    "code",
    [
        "await arefused(Chain().acall(5))",
        "refused(lambda: Chain()(5))",
        "call = Chain().acall(5)\nawait arefused(call)",
        "await arefused(asyncio.create_task(Chain().acall(5)))",
    ],
    ids=["await", "sync", "handle", "task"],
)
def test_chain_may_not_configure(page, code):
    cell = page.run(code)

    assert "a task of a running call" in cell.result_text


def test_worker_thread_of_a_chain_may_not_configure(page):
    cell = page.run("await arefused(Inline().acall(5))")

    assert "a worker thread of a running call" in cell.result_text


def test_cell_that_configures_does_not_own_the_settings(page):
    page.run("change(1)")
    cell = page.run("await asyncio.to_thread(refused, lambda: change(2))")

    assert cell.result_text == "2"
