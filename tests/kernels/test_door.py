"""`run` in real kernels: the value, the order, the context, the traceback, the cost."""

from __future__ import annotations

import time

import pytest

from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.kernel


@pytest.mark.behaviour(1)
def test_first_cell_that_imports_nbtool_can_run(any_kernel):
    cell = any_kernel.run(
        "import asyncio, nbtool\nnbtool.run(asyncio.sleep(0.01, 'value'))", timeout_s=60
    )

    assert (cell.result_text, cell.stderr) == ("'value'", "")


@pytest.mark.behaviour(2)
def test_cell_with_top_level_await_can_run(notebook):
    cell = notebook.run("await asyncio.sleep(0)\n[run(later(2)), await later(3), run(later(4))]")

    assert cell.result_text == "[2, 3, 4]"


@pytest.mark.behaviour(3)
def test_callback_can_run(notebook):
    notebook.run("loop.call_soon(lambda: log.append((run(later(3)), asyncio.current_task())))")

    assert notebook.run("await later(s=0.1)\nlog.pop()").result_text == "(3, None)"


@pytest.mark.behaviour(4)
def test_task_can_run_and_is_current_again_afterwards(notebook):
    cell = notebook.run(
        "async def task():\n"
        "    before = asyncio.current_task()\n"
        "    inside = run(asyncio.sleep(0, 4)), asyncio.current_task() is before\n"
        "    await later()\n"
        "    return inside\n"
        "await asyncio.create_task(task())"
    )

    assert cell.result_text == "(4, True)"


THREADS = {
    "thread": (
        "thread = threading.Thread(target=lambda: log.append(run(later(5))))\n"
        "thread.start()\n"
        "thread.join()\n"
        "log.pop()"
    ),
    "to_thread": "await asyncio.to_thread(lambda: run(later(5)))",
    "run of to_thread": "run(asyncio.to_thread(lambda: run(later(5))))",
}


@pytest.mark.behaviour(5)
@pytest.mark.parametrize("code", THREADS.values(), ids=THREADS)
def test_thread_can_run(notebook, code):
    assert notebook.run(code).result_text == "5"


@pytest.mark.behaviour(8)
def test_classes_of_asyncio_are_the_c_ones_before_and_after_a_run(notebook):
    cell = notebook.run(
        "import _asyncio\n"
        "async def kinds():\n"
        "    return type(asyncio.current_task()), type(loop.create_future())\n"
        "c_kinds = _asyncio.Task, _asyncio.Future\n"
        "[c_kinds == each for each in\n"
        " [(asyncio.Task, asyncio.Future), run(kinds()), await kinds()]]"
    )

    assert cell.result_text == "[True, True, True]"


@pytest.mark.behaviour(9)
def test_background_ticker_keeps_ticking(notebook):
    cell = notebook.run(
        "async def tick():\n"
        "    while True:\n"
        "        log.append('tick')\n"
        "        await asyncio.sleep(0.01)\n"
        "ticker = asyncio.ensure_future(tick())\n"
        "run(later(s=0.5))\n"
        "ticker.cancel()\n"
        "len(log), log.clear()"
    )

    assert 20 <= int(cell.result_text.strip("(").split(",")[0]) <= 51


@pytest.mark.behaviour(10)
def test_hundred_gathered_calls_run_at_the_same_time(notebook):
    cell = notebook.run(
        "async def main():\n"
        "    return await asyncio.gather(*[later(n, 0.1) for n in range(100)])\n"
        "began = time.monotonic()\n"
        "run(main()) == list(range(100)), time.monotonic() - began < 0.5"
    )

    assert cell.result_text == "(True, True)"


@pytest.mark.behaviour(11)
@pytest.mark.parametrize("end", ["return var.get()", "raise ValueError"])
def test_context_variable_goes_in_and_comes_out_and_stays_for_the_next_cell(notebook, end):
    cell = notebook.run(
        "async def chain():\n"
        "    log.append(var.get())\n"
        "    await later()\n"
        "    var.set('out')\n"
        f"    {end}\n"
        "var.set('in')\n"
        "run(chain())"
    )

    assert cell.error_name == ("ValueError" if "raise" in end else "")
    assert notebook.run("log.pop(), var.get()").result_text == "('in', 'out')"


RAISING = (
    "async def inner():\n"
    "    await later()\n"
    "    raise ValueError('mine')\n"
    "async def outer():\n"
    "    await inner()\n"
    "class Outer(nbtool.Module):\n"
    "    async def aforward(self):\n"
    "        await outer()\n"
)


@pytest.mark.behaviour(12)
@pytest.mark.parametrize(
    "call", ["run(outer())", "Outer()()", "await Outer().acall()", "Outer().acall().result()"]
)
def test_traceback_shows_the_users_frames_only(notebook, call):
    cell = notebook.run(f"{RAISING}{call}")

    assert cell.error_value == "mine"
    assert "nbtool/" not in cell.traceback
    assert "asyncio/" not in cell.traceback
    assert f"---> {RAISING.count(chr(10)) + 1} {call}" in cell.traceback
    assert "3     raise ValueError('mine')" in cell.traceback


LIMITED = {
    "asyncio.timeout": "async with asyncio.timeout(0.05): await later(s=9)",
    "wait_for": "await asyncio.wait_for(later(s=9), 0.05)",
    "anyio.fail_after": "with anyio.fail_after(0.05): await later(s=9)",
    "TaskGroup": "async with asyncio.TaskGroup() as group: group.create_task(late())",
}


@pytest.mark.behaviour(13)
@pytest.mark.parametrize("body", LIMITED.values(), ids=LIMITED)
def test_time_limits_and_groups_work_inside(notebook, body):
    cell = notebook.run(
        "import anyio\n"
        "async def late():\n"
        "    await later(s=0.05)\n"
        "    raise TimeoutError\n"
        f"async def chain():\n    {body}\n"
        "try:\n"
        "    run(chain())\n"
        "except* TimeoutError:\n"
        "    result = 'limited'\n"
        "result, run(later('next'))"
    )

    assert cell.result_text == "('limited', 'next')"


@pytest.mark.behaviour(13)
def test_time_limit_of_the_run_itself_cancels_the_chain(notebook):
    cell = notebook.run(
        "async def chain():\n"
        "    try:\n"
        "        await later(s=9)\n"
        "    finally:\n"
        "        log.append('cleaned up')\n"
        "run(chain(), timeout_s=0.05)"
    )

    assert cell.error_name == "TimeoutError"
    assert notebook.run("log.pop()").result_text == "'cleaned up'"


@pytest.mark.behaviour(14)
def test_runs_nest_six_deep(notebook):
    cell = notebook.run(
        "async def deeper(levels):\n"
        "    await later()\n"
        "    return run(deeper(levels - 1)) + 1 if levels else 0\n"
        "run(deeper(6))"
    )

    assert cell.result_text == "6"


@pytest.mark.behaviour(15)
def test_overlapping_runs_finish_in_their_own_order(notebook):
    cell = notebook.run(
        "async def sync(s):\n"
        "    run(later(s=s))\n"
        "    log.append((s, round(time.monotonic() - began, 1)))\n"
        "began = time.monotonic()\n"
        "await asyncio.gather(sync(0.6), sync(0.4), sync(0.2))\n"
        "log.copy(), log.clear()"
    )

    assert cell.result_text == "([(0.2, 0.2), (0.4, 0.4), (0.6, 0.6)], None)"


@pytest.mark.behaviour(16)
def test_two_runs_can_wait_for_each_other(notebook):
    cell = notebook.run(
        "one, other = asyncio.Event(), asyncio.Event()\n"
        "async def meet(mine, yours):\n"
        "    async def inside():\n"
        "        mine.set()\n"
        "        await yours.wait()\n"
        "    run(inside())\n"
        "    return 'met'\n"
        "await asyncio.wait_for(asyncio.gather(meet(one, other), meet(other, one)), 2)"
    )

    assert cell.result_text == "['met', 'met']"


@pytest.mark.behaviour(17)
def test_three_hundred_runs_wait_at_the_same_time(notebook):
    cell = notebook.run(
        "async def sync(n):\n"
        "    return run(later(n, 0.2))\n"
        "async def main():\n"
        "    return await asyncio.gather(*[sync(n) for n in range(300)])\n"
        "began = time.monotonic()\n"
        "run(main()) == list(range(300)), time.monotonic() - began < 2"
    )

    assert cell.result_text == "(True, True)"


@pytest.mark.behaviour(18)
def test_cancelling_the_outer_task_reaches_the_inner_one(notebook):
    cell = notebook.run(
        "async def inner():\n"
        "    try:\n"
        "        await later(s=9)\n"
        "    except asyncio.CancelledError:\n"
        "        log.append('inner')\n"
        "        raise\n"
        "async def outer():\n"
        "    run(inner())\n"
        "task = asyncio.ensure_future(outer())\n"
        "loop.call_later(0.1, task.cancel)\n"
        "await asyncio.wait([task])\n"
        "log.pop(), task.cancelled()"
    )

    assert cell.result_text == "('inner', True)"


CLIENTS = {
    "aiohttp": (
        "import aiohttp\nasync def made(): return aiohttp.ClientSession()",
        "async def ask():\n    async with client.get(url) as reply: return reply.status",
        "client.close()",
    ),
    "httpx": (
        "import httpx\nasync def made(): return httpx.AsyncClient()",
        "async def ask(): return (await client.get(url)).status_code",
        "client.aclose()",
    ),
}  # fmt: skip


@pytest.mark.behaviour(19)
@pytest.mark.parametrize(("make", "ask", "close"), CLIENTS.values(), ids=CLIENTS)
def test_client_made_in_one_cell_works_in_the_next_ones(notebook, make, ask, close):
    with ScriptedServer() as server:
        notebook.run(f"{make}\nclient, url = run(made()), {server.base_url + '/models'!r}\n{ask}")
        statuses = [
            notebook.run(f"{how}\n").result_text
            for how in ("run(ask())", "await ask()", "run(ask())")
        ]
        notebook.run(f"run({close})")

    assert statuses == ["200"] * 3
    assert {request.connection_id for request in server.requests} == {1}


@pytest.mark.behaviour(19)
def test_task_of_an_earlier_cell_can_be_waited_for(notebook):
    notebook.run("task = asyncio.ensure_future(later('early', 0.1))")

    assert notebook.run("run(task)").result_text == "'early'"


EXITS = {
    "run": "run(leave())",
    "child": "async def main(): await asyncio.gather(leave(), later(s=9))\nrun(main())",
    "await": "await Leave().acall()",
    "call": "Leave()()",
    "tool in a thread": "await nbtool.Tool(sys.exit, args={}).acall()",
}


@pytest.mark.behaviour(21)
@pytest.mark.parametrize("code", EXITS.values(), ids=EXITS)
def test_sys_exit_in_a_chain_does_not_end_the_kernel(notebook, code):
    cell = notebook.run(
        "async def leave():\n"
        "    await later()\n"
        "    sys.exit(3)\n"
        "class Leave(nbtool.Module):\n"
        "    async def aforward(self): await leave()\n"
        f"{code}"
    )

    assert cell.error_name == "SystemExit"
    assert notebook.run("run(later('alive'))").result_text == "'alive'"


@pytest.mark.behaviour(22)
def test_cells_of_run_all_run_in_order_and_keep_their_output(notebook):
    cells = [
        notebook.submit(f"log.append({n})\nprint('before', {n})\n{wait}\nprint('after', {n})")
        for n, wait in enumerate(["run(later(s=0.2))", "await later(s=0.1)", "run(later())"] * 3)
    ]
    ended = [notebook.wait_for(cell) for cell in cells]

    assert [cell.stdout for cell in ended] == [f"before {n}\nafter {n}\n" for n in range(9)]
    assert notebook.run("log.copy(), log.clear()").result_text == f"({list(range(9))}, None)"


@pytest.mark.behaviour(22)
def test_result_of_a_cell_that_ran_is_shown_in_it(notebook):
    cells = [notebook.submit(f"run(later(s=0.1))\ndisplay({n})\nrun(later({n}))") for n in range(3)]
    ended = [notebook.wait_for(cell) for cell in cells]

    assert [cell.result_text for cell in ended] == ["0", "1", "2"]
    assert [cell.displays[0].text for cell in ended] == ["0", "1", "2"]


@pytest.mark.behaviour(26)
def test_background_task_parked_in_a_run_does_not_block_later_cells(notebook):
    notebook.run("async def sync(): return run(later('late', 0.5))")
    began_s = time.monotonic()
    notebook.run("task = asyncio.ensure_future(sync())\nawait asyncio.sleep(0.05)")
    seen = [notebook.run(code).result_text for code in ("1", "run(later(2))", "await later(3)")]

    assert (seen, time.monotonic() - began_s < 0.5) == (["1", "2", "3"], True)
    assert notebook.run("await task").result_text == "'late'"
