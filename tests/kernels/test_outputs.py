"""Whose output it is: what a chain prints and shows lands in the cell that started it."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.kernel, pytest.mark.behaviour(22)]

STEPS = """
import logging, tqdm, warnings

def show(what):
    if what == "print": print("mine")
    if what == "stderr": print("mine", file=sys.stderr)
    if what == "flush": print("mi", end="", flush=True); print("ne", flush=True)
    if what == "logging": logging.getLogger("mine").warning("mine")
    if what == "warning": warnings.warn("mine")
    if what == "display": display("mine")
    if what == "tqdm": list(tqdm.tqdm(range(2), desc="mine"))
    if what == "update": display("mi", display_id="x").update("mine")

class Step(nbtool.Module):
    async def aforward(self, what):
        await later(s=0.1)
        show(what)
        await later(s=0.1)

def slow(what):
    time.sleep(0.1)
    show(what)
    time.sleep(0.1)

class Agent(nbtool.Module):
    async def aforward(self, what):
        await nbtool.Tool(slow).acall(what=what)
"""
KINDS = ("print", "stderr", "flush", "logging", "warning", "tqdm", "display", "update")


@pytest.fixture
def page(notebook):
    made = notebook.run(STEPS)
    assert made.status == "ok", made.traceback
    return notebook


def everything(cell):
    return cell.stdout + cell.stderr + "".join(shown.text for shown in cell.displays)


@pytest.mark.parametrize("what", KINDS)
@pytest.mark.parametrize("chain", ["Step()", "Agent()"])
def test_output_of_a_chain_lands_in_the_cell_that_started_it(page, chain, what):
    started = page.run(f"call = {chain}.acall(what={what!r})")
    other = page.run("print('theirs')\nawait asyncio.wait([call._task])\ndisplay('theirs')")
    page.wait_until(lambda: "mine" in everything(started) + everything(other), timeout_s=5)

    assert "mine" in everything(started)
    assert (other.stdout, other.stderr) == ("theirs\n", "")
    assert [shown.text for shown in other.displays] == ["'theirs'"]


@pytest.mark.parametrize("wait", ["await call", "call.result()"])
def test_output_keeps_its_order_while_its_own_cell_waits(page, wait):
    cell = page.run(
        "print('before')\ncall = Step().acall(what='print')\n"
        f"{wait}\nprint('between')\nAgent()(what='print')\nprint('after')"
    )

    assert cell.stdout == "before\nmine\nbetween\nmine\nafter\n"


def test_print_comes_before_what_is_displayed_after_it(page):
    started = page.run(
        "async def both():\n    await later(s=0.1)\n    print('first')\n    display('second')\n"
        "class Both(nbtool.Module):\n    async def aforward(self): await both()\n"
        "call = Both().acall()"
    )
    page.run("await asyncio.wait([call._task])\nawait later(s=0.3)")

    kinds = [each["header"]["msg_type"] for each in started.messages]
    assert [each for each in kinds if each in {"stream", "display_data"}] == [
        "stream",
        "display_data",
    ]


def test_after_restore_outputs_are_the_kernels_own_again(page):
    page.run("call = Step().acall(what='print')\nawait call\nnbtool.restore()")
    left = page.run(
        "from nbtool.runtime import outputs\n"
        "owners = sys.stdout, sys.stderr, get_ipython().display_pub\n"
        "[v for each in owners for v in vars(each).values() if isinstance(v, outputs._Routed)]"
    )
    page.run("%load_ext nbtool")

    assert left.result_text == "[]"
