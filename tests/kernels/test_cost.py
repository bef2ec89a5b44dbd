"""What the door costs a kernel: memory, the time of a restart; task switches: `make bench`."""

from __future__ import annotations

import time

import pytest

from nbtool.testing.kernel import Kernel

pytestmark = pytest.mark.kernel


@pytest.mark.behaviour(30)
def test_ten_thousand_runs_leave_memory_flat(notebook, record_property):
    cell = notebook.run(
        "import pathlib\n"
        # What the first view needs is imported meanwhile, and is no growth of the door's.
        "[t.join() for t in threading.enumerate() if t.name == 'nbtool-load-widgets']\n"
        "def pages(): return int(pathlib.Path('/proc/self/statm').read_text().split()[1])\n"
        "def grown(rounds):\n"
        "    gc.collect()\n"
        "    before = pages(), len(gc.get_objects())\n"
        "    for _ in range(rounds * 500):\n"
        "        run(asyncio.sleep(0))\n"
        "    gc.collect()\n"
        "    return pages() - before[0], len(gc.get_objects()) - before[1]\n"
        "grown(2)\n"
        "print(*grown(18))"
    )
    grown_pages, grown_objects = map(int, cell.stdout.split())
    record_property("grown_kb", grown_pages * 4)

    assert grown_objects < 100
    assert grown_pages < 256


@pytest.mark.behaviour(31)
def test_shutdown_and_restart_while_a_cell_is_parked_are_quick(any_python, notebook):
    checkout = notebook.run("nbtool.__path__[0]").result_text.strip("'").removesuffix("/nbtool")
    with Kernel(any_python, import_from=[checkout]) as kernel:
        waiting = kernel.submit(
            "import asyncio, nbtool\nprint('on', flush=True)\nnbtool.run(asyncio.sleep(60))"
        )
        kernel.wait_until(lambda: kernel.outputs_of(waiting).stdout)
        began_s = time.monotonic()
        ended = kernel.restart()
        again = kernel.run("import asyncio, nbtool\nnbtool.run(asyncio.sleep(0, 'again'))")

    assert (ended, again.result_text) == (True, "'again'")
    assert time.monotonic() - began_s < 8


UNTOUCHED = """
import asyncio, events_of_before as before
loop = asyncio.get_running_loop()
own = set(vars(loop))  # in a kernel of its own: after this look every attribute is slower
own - before.own, loop.get_task_factory(), [
    name for name in ("call_soon", "call_at", "_run_once", "run_forever", "create_task")
    if getattr(type(loop), name) is not before.methods[name]
]
"""


@pytest.mark.behaviour(32)
def test_nothing_that_a_task_switch_passes_is_replaced(any_kernel):
    any_kernel.run(
        "import asyncio, sys, types\n"
        "probe = asyncio.new_event_loop()\n"
        "kind = type(asyncio.get_running_loop())\n"
        "names = 'call_soon', 'call_at', '_run_once', 'run_forever', 'create_task'\n"
        "sys.modules['events_of_before'] = types.SimpleNamespace(\n"
        "    own=set(vars(probe)), methods={name: getattr(kind, name) for name in names})\n"
        "probe.close()"
    )
    any_kernel.run("import nbtool\nfor _ in range(1_000): nbtool.run(asyncio.sleep(0))")

    cell = any_kernel.run(UNTOUCHED)
    assert cell.result_text == "({'run_until_complete'}, None, [])"
