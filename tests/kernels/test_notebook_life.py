"""What people do in notebooks all day works as without us: autoreload, the debugger, reruns."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from nbtool.testing.kernel import Kernel

pytestmark = [pytest.mark.kernel, pytest.mark.behaviour(22)]

CHECKOUT = Path(__file__).resolve().parents[2]
MODULE = """
import asyncio
import nbtool

class Step(nbtool.Module):
    async def aforward(self, x):
        await asyncio.sleep(0.5)
        return x * {factor}

def tool(x: int) -> int:
    return x * {factor}
"""


@pytest.fixture
def write(tmp_path):
    """Write the module that the kernel imports; each time newer than before."""

    def written(factor, age_s):
        path = tmp_path / "steps.py"
        path.write_text(MODULE.format(factor=factor), encoding="utf-8")
        os.utime(path, (time.time() - age_s,) * 2)

    return written


@pytest.fixture
def reloading(any_python, tmp_path, write):
    write(2, age_s=20)
    with Kernel(any_python, import_from=[CHECKOUT, tmp_path]) as kernel:
        cell = kernel.run("%load_ext autoreload\n%autoreload 2\nimport nbtool, steps")
        if "No module named 'imp'" in cell.error_value:
            pytest.skip("not run: IPython 7 has no autoreload on Python 3.12 and later")
        yield kernel


@pytest.mark.parametrize("wait", ["await call", "call.result()", "nbtool.run(call)"])
def test_call_that_runs_while_its_module_is_reloaded_ends_as_it_began(reloading, write, wait):
    reloading.run("call = steps.Step().acall(x=1)")
    write(3, age_s=0)
    cell = reloading.run(f"{wait}, steps.Step()(x=1), nbtool.Tool(steps.tool)(x=1)")

    assert (cell.result_text, cell.stderr, cell.error_value) == ("(2, 3, 3)", "", "")


FAILING = """
import asyncio, nbtool

async def fails(x):
    mine = x * 2
    raise ValueError(mine)

class Step(nbtool.Module):
    async def aforward(self, x):
        await asyncio.sleep(0)
        await fails(x)

def sync(x):
    mine = x * 2
    raise ValueError(mine)
"""
FAILS = {
    "call": "Step()(x=21)",
    "await": "await Step().acall(x=21)",
    "result": "Step().acall(x=21).result()",
    "run": "nbtool.run(fails(21))",
    "asyncio.run": "asyncio.run(fails(21))",
    "tool": "nbtool.Tool(fails)(x=21)",
    "tool in a thread": "await nbtool.Tool(sync).acall(x=21)",
}


@pytest.fixture(scope="module")
def failing(started_notebook):
    started_notebook.run(FAILING)
    return started_notebook


@pytest.mark.parametrize("code", FAILS.values(), ids=FAILS)
def test_debugger_after_a_failed_chain_is_in_the_users_frame(failing, code):
    assert failing.run(code).error_name == "ValueError"
    cell = failing.run("%debug", answers=["p 'mine', mine", "q"])

    assert "('mine', 42)" in cell.stdout


def test_breakpoint_in_a_tool_of_a_synchronous_call_stops_there(failing):
    # Not breakpoint(): debugpy, which a kernel imports, takes that for a front end's debugger.
    failing.run(
        "from IPython.core.debugger import set_trace\n"
        "def stops(x):\n    mine = x * 2\n    set_trace()\n    return mine"
    )
    cell = failing.run("nbtool.Tool(stops)(x=21)", answers=["p 'mine', mine", "c"])

    assert "('mine', 42)" in cell.stdout
    assert cell.result_text == "42"
