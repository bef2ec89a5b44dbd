"""`Call` in real kernels: when it starts, who may wait for it, where its output goes."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel

STEPS = """
class Step(nbtool.Module):
    async def aforward(self, x, s=0.05):
        log.append(f"began {x}")
        await asyncio.sleep(s)
        return x * 2

class Failing(nbtool.Module):
    async def aforward(self):
        await asyncio.sleep(0.05)
        raise ValueError("lost")

class Peak(nbtool.Module):
    now = peak = 0
    async def aforward(self, n):
        Peak.now += 1
        Peak.peak = max(Peak.peak, Peak.now)
        await asyncio.sleep(0.005)
        Peak.now -= 1
        return n

def set_var():
    var.set("by the tool")

async def set_var_later():
    await asyncio.sleep(0)
    var.set("by the tool")

step = Step()
log.clear()
"""


@pytest.fixture
def page(notebook):
    made = notebook.run(STEPS)
    assert made.status == "ok", made.traceback
    return notebook


WAITS = {
    "await": ("await call", "42"),
    "awaited twice": ("[await call, await call]", "[42, 42]"),
    "gather": ("await asyncio.gather(call, step.acall(x=1))", "[42, 2]"),
    "create_task": ("await asyncio.create_task(call)", "42"),
    "TaskGroup": (
        "async with asyncio.TaskGroup() as group: task = group.create_task(call)\ntask.result()",
        "42",
    ),
    "wait_for": ("await asyncio.wait_for(call, 1)", "42"),
    "timeout": ("async with asyncio.timeout(1): got = await call\ngot", "42"),
    "result": ("call.result()", "42"),
    "result in an awaiting cell": ("await later()\ncall.result(timeout_s=1)", "42"),
    "result in a thread": ("await asyncio.to_thread(call.result)", "42"),
    "run": ("run(call)", "42"),
    "asyncio.run": ("async def main(): return await call\nasyncio.run(main())", "42"),
    "asyncio.run of the call": ("asyncio.run(call)", "42"),
    "another loop": ("await asyncio.to_thread(lambda: asyncio.Runner().run(again(call)))", "42"),
}


@pytest.mark.behaviour(25)
@pytest.mark.parametrize("cells", ["same", "next"])
@pytest.mark.parametrize(("code", "result"), WAITS.values(), ids=WAITS)
def test_call_can_be_waited_for_in_every_way(page, code, result, cells):
    page.run("async def again(call): return await call")
    made = "call = step.acall(x=21)\n"
    first = page.run(made) if cells == "next" else None
    cell = page.run(code if first else made + code)

    assert (cell.result_text, cell.error_value) == (result, "")


@pytest.mark.behaviour(25)
def test_call_made_in_a_cell_starts_at_once(page):
    page.run("call = step.acall(x=1)")

    assert page.run("run(later())\nlog, call.done()").result_text == "(['began 1'], False)"
    assert page.run("await call").result_text == "2"


LAZY = {
    "async def": "async def main(): return step.acall(x=1)\ncall = await main()",
    "task": "async def main(): return step.acall(x=1)\ncall = await asyncio.create_task(main())",
    "callback": "loop.call_soon(lambda: log.append(step.acall(x=1)))\nawait later()\n"
    "call = log.pop()",
    "thread": "call = await asyncio.to_thread(step.acall, x=1)",
}


@pytest.mark.behaviour(25)
@pytest.mark.parametrize("code", LAZY.values(), ids=LAZY)
def test_call_made_elsewhere_starts_at_its_first_await(page, code):
    cell = page.run(f"{code}\nawait later(s=0.05)\nbefore = log.copy()\nbefore, await call, log")

    assert cell.result_text == "([], 2, ['began 1'])"


@pytest.mark.behaviour(25)
def test_call_made_by_a_plain_function_of_the_cell_starts_at_once(page):
    page.run("def ask(): return [step.acall(x=n) for n in range(3)]\ncalls = ask()")

    assert page.run("await asyncio.gather(*calls), len(log)").result_text == "([0, 2, 4], 3)"


ENDS = {
    "cancel": "call.cancel()",
    "cancel in a thread": "await asyncio.to_thread(call.cancel)",
    "stop": "nbtool.stop()",
    "wait_for": "try: await asyncio.wait_for(call, 0.05)\nexcept TimeoutError: pass",
}


@pytest.mark.behaviour(25)
@pytest.mark.parametrize("code", ENDS.values(), ids=ENDS)
def test_call_can_be_ended(page, code):
    page.run("call = step.acall(x=1, s=60)")
    page.run(f"{code}\nawait later()")

    assert page.run("call.cancelled(), nbtool.running(), call").result_text == (
        "(True, [], <Call Step: cancelled>)"
    )


@pytest.mark.behaviour(25)
def test_result_with_a_limit_leaves_the_call_running(page):
    cell = page.run("call = step.acall(x=1, s=1)\ncall.result(timeout_s=0.05)")

    assert cell.error_name == "TimeoutError"
    assert page.run("call.done(), await call").result_text == "(False, 2)"


USES = {
    "attribute": ("call.answer", "`call.answer`"),
    "item": ("call['x']", "`call['x']`"),
    "truth": ("bool(call)", "as a truth value"),
    "iteration": ("list(call)", "in an iteration"),
}


@pytest.mark.behaviour(25)
@pytest.mark.parametrize(("use", "told"), USES.values(), ids=USES)
def test_forgotten_await_explains_itself(page, use, told):
    cell = page.run(f"call = step.acall(x=1)\n{use}")

    assert cell.error_name == "CallNotAwaitedError"
    assert told in cell.error_value
    assert "Write `await call`" in cell.traceback
    assert page.run("await call").result_text == "2"


@pytest.mark.behaviour(25)
def test_repr_says_how_the_call_is_going(page):
    shown = page.run("call = step.acall(x=1)\nrepr(call)")

    assert shown.result_text.startswith("'<Call Step: running for 0.0 s, made in In [")
    assert page.run("await call\nrepr(call)").result_text == "'<Call Step: done, result 2>'"


@pytest.mark.behaviour(25)
def test_running_lists_the_calls_with_their_cells(page):
    made = page.run("call = step.acall(x=1)")
    cell = page.run("[(each.name, each.cell) for each in nbtool.running()]")

    assert cell.result_text == f"[('Step', 'In [{made.execution_count}]')]"
    assert page.run("await call, nbtool.running()").result_text == "(2, [])"


@pytest.mark.behaviour(25)
def test_error_that_nobody_fetched_is_written_once_to_the_cell_that_started_it(page):
    started = page.run("call = Failing().acall()")
    later = page.run("await later(s=0.1)\ndel call\ngc.collect()")
    page.wait_until(lambda: started.stderr + later.stderr)

    said = started.stderr
    assert said.count("Failing failed, and nobody asked for its result") == 1
    assert "ValueError('lost')" in said
    assert later.stderr == ""


@pytest.mark.behaviour(25)
@pytest.mark.parametrize("look", ["call", "call.exception()", "await asyncio.wait([call._task])"])
def test_error_that_was_fetched_is_not_written(page, look):
    page.run("call = Failing().acall()")
    page.run("await later(s=0.1)")
    looked = page.run(f"try: {look}\nexcept ValueError: pass\nrepr(call)")
    ended = page.run("Out.clear()\n_ = __ = ___ = None\ndel call\ngc.collect()\nNone")

    assert "failed with ValueError: lost" in looked.result_text
    assert looked.stderr + ended.stderr == ""


@pytest.mark.behaviour(25)
def test_class_can_be_defined_again_while_a_call_of_it_runs(page):
    page.run("call = step.acall(x=1, s=0.2)")
    page.run(STEPS.replace("x * 2", "x * 3"))

    assert page.run("await call, await step.acall(x=1)").result_text == "(2, 3)"


@pytest.mark.behaviour(25)
def test_cell_can_be_run_again_while_its_call_runs(page):
    first, second = (page.run("call = step.acall(x=1, s=0.2)") for _ in range(2))
    counts = page.run("sorted(each.cell for each in nbtool.running())").result_text

    assert counts == str([f"In [{cell.execution_count}]" for cell in (first, second)])
    assert page.run("await call\nawait later(s=0.1)\nnbtool.running()").result_text == "[]"


OUTPUTS = ["await call", "call.result()", "run(call)", "await asyncio.gather(call)"]


@pytest.mark.behaviour(25)
@pytest.mark.parametrize("code", OUTPUTS)
def test_later_output_stays_in_its_own_cell_after_a_call_of_an_earlier_one(page, code):
    started = page.run("call = step.acall(x=21)")
    cell = page.run(f"got = {code}\nprint('printed')\ndisplay('shown')\ngot")

    assert cell.stdout == "printed\n"
    assert [shown.text for shown in cell.displays] == ["'shown'"]
    assert "42" in cell.result_text
    assert (started.stdout, started.displays, started.result) == ("", [], None)


PEAKS = {
    "cell": "await main()",
    "asyncio.run": "asyncio.run(main())",
    "run": "run(main())",
}


@pytest.mark.behaviour(33)
@pytest.mark.parametrize("how", PEAKS.values(), ids=PEAKS)
def test_two_hundred_calls_in_a_list_peak_at_what_the_semaphore_lets_through(page, how):
    cell = page.run(
        "async def main():\n"
        "    limit = asyncio.Semaphore(5)\n"
        "    async def limited(call):\n"
        "        async with limit:\n"
        "            return await call\n"
        "    calls = [Peak().acall(n=n) for n in range(200)]\n"
        "    return await asyncio.gather(*[limited(call) for call in calls])\n"
        f"{how} == list(range(200)), Peak.peak"
    )

    assert cell.result_text == "(True, 5)"


@pytest.mark.behaviour(34)
@pytest.mark.parametrize("tool", ["set_var", "set_var_later"])
@pytest.mark.parametrize("how", ["await call", "call.result()", "run(call)", "await main()"])
def test_variable_set_in_a_tool_is_visible_afterwards(page, how, tool):
    cell = page.run(
        f"var.set('before')\ncall = nbtool.Tool({tool}).acall()\n"
        f"async def main(): await nbtool.Tool({tool}).acall(); await call\n"
        f"{how}\nvar.get()"
    )

    assert cell.result_text == "'by the tool'"


@pytest.mark.behaviour(35)
def test_cancelling_one_of_two_waiters_leaves_the_other_its_result(page):
    cell = page.run(
        "call = step.acall(x=21, s=0.2)\n"
        "async def wait(): return await call\n"
        "one, other = loop.create_task(wait()), loop.create_task(wait())\n"
        "await later()\n"
        "one.cancel()\n"
        "await asyncio.wait([one, other])\n"
        "one.cancelled(), other.result()"
    )

    assert cell.result_text == "(True, 42)"


@pytest.mark.behaviour(25)
def test_cell_that_starts_a_call_ends_at_once(page):
    began_s = time.monotonic()
    page.run("call = step.acall(x=1, s=0.5)")

    assert time.monotonic() - began_s < 0.4
    assert page.run("await call").result_text == "2"
