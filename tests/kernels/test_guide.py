"""`asyncio.run(main())` and its kin in cells: the guide's programs, word for word."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from nbtool.testing.kernel import Kernel
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.kernel

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = sorted((CHECKOUT / "docs" / "guide").glob("*.py"))
PRINTED = {
    "1_predict": "Prediction(\n    answer='Paris'\n)\n",
    "2_async_tool": "foo got 2\n",
    "3_sync_call_of_async_tool": "double gave 10\n",
    "4_custom_module": (
        "Prediction(\n    reasoning='Only the name.',\n    simplified_answer='Paris'\n)\n"
    ),
    "5_react": "It is 17 degrees.\n",
}
# By what is in the last turn; the first that fits counts.
ANSWERS = {
    "observation_1": {"reasoning": "The tool said so.", "answer": "It is 17 degrees."},
    "observation_0": {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": "{}"},
    "next_tool_name": {
        "next_thought": "I look it up.",
        "next_tool_name": "get_weather",
        "next_tool_args": '{"city": "Oslo"}',
    },
    "simplified_answer": {"reasoning": "Only the name.", "simplified_answer": "Paris"},
    "[[ ## reasoning ## ]]": {"reasoning": "It is in France.", "answer": "It is Paris."},
    "capital of France": {"answer": "Paris"},
}
programs = pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem, marks=pytest.mark.program(path.stem)) for path in PROGRAMS],
)


def written(fields):
    return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items())


@pytest.fixture(scope="module")
def variables(tmp_path_factory):
    """Run a provider that knows the answers, and say how a program reaches it as OpenAI."""
    with ScriptedServer(by_prompt={part: written(each) for part, each in ANSWERS.items()}) as it:
        yield {
            "MODEL": "openai/gpt-4o-mini",
            "OPENAI_API_KEY": "test",
            "OPENAI_API_BASE": it.base_url,
            "OPENAI_BASE_URL": it.base_url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "NBTOOL_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
        }


@pytest.fixture(scope="module")
def guide_kernel(any_python, variables):
    with Kernel(any_python, import_from=[CHECKOUT], env=variables) as started:
        yield started


@programs
def test_program_runs_as_a_script(path, variables):
    said = subprocess.run(  # noqa: S603 - our own interpreter and sources
        [sys.executable, str(path)],
        env={"PYTHONPATH": str(CHECKOUT), **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (said.stdout, said.stderr, said.returncode) == (PRINTED[path.stem], "", 0)


@pytest.mark.behaviour(28)
@programs
def test_program_runs_as_a_cell_word_for_word(guide_kernel, path):
    cell = guide_kernel.run(path.read_text("utf-8"), timeout_s=60)

    assert (cell.status, cell.traceback) == ("ok", "")
    assert (cell.stdout, cell.stderr) == (PRINTED[path.stem], "")


RUNS = {
    "asyncio.run": "asyncio.run(main())",
    "asyncio.run with debug": "asyncio.run(main(), debug=False)",
    "Runner": "with asyncio.Runner() as runner: got = runner.run(main())\ngot",
    "anyio.run": "import anyio\nanyio.run(main)",
    "run_until_complete": "loop.run_until_complete(main())",
    "get_event_loop": "asyncio.get_event_loop().run_until_complete(main())",
    "run_until_complete of a task": "loop.run_until_complete(loop.create_task(main()))",
    "in a thread": "await asyncio.to_thread(lambda: asyncio.run(main()))",
    "nested": "async def outer(): return asyncio.run(main())\nasyncio.run(outer())",
    "in an awaiting cell": "await later()\nasyncio.run(main())",
}


@pytest.mark.behaviour(28)
@pytest.mark.parametrize("code", RUNS.values(), ids=RUNS)
def test_blocking_calls_of_asyncio_work_in_a_cell(notebook, code):
    cell = notebook.run(f"async def main(): return await later('main')\n{code}")

    assert (cell.result_text, cell.error_value) == ("'main'", "")


LEAVING = """
async def numbers():
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        log.append("generator closed")

async def background():
    try:
        await asyncio.sleep(60)
    finally:
        await asyncio.sleep(0)
        log.append("task ended")

async def main():
    global kept
    kept = numbers()
    asyncio.create_task(background())
    await asyncio.sleep(0)
    return await anext(kept)

log.clear()
others = asyncio.ensure_future(later("others", 0.3))
"""


@pytest.mark.behaviour(28)
@pytest.mark.parametrize("how", list(RUNS.values())[:4], ids=list(RUNS)[:4])
def test_program_ends_what_it_leaves_behind_and_nothing_else(notebook, how):
    cell = notebook.run(f"{LEAVING}\n{how}")

    assert cell.error_value == ""
    assert notebook.run("sorted(log)").result_text == "['generator closed', 'task ended']"
    assert notebook.run("await others").result_text == "'others'"


PATCHED = (
    "asyncio.run, asyncio.runners.run, asyncio.Runner.run, asyncio.Task, asyncio.Future,"
    " loop.run_until_complete, hasattr(asyncio, '_nest_patched'), hasattr(loop, '_nest_patched'),"
    " type(loop), signal.set_wakeup_fd(-1)"
)
UNDO = {
    "restore": ("nbtool.restore()", "nbtool.load_ipython_extension(get_ipython())"),
    "magic": ("%unload_ext nbtool", "%load_ext nbtool"),
}


@pytest.mark.behaviour(28)
@pytest.mark.parametrize(("undo", "redo"), UNDO.values(), ids=UNDO)
def test_everything_can_be_put_back_and_brought_back(any_kernel, undo, redo):
    any_kernel.run("import asyncio, signal\nloop = asyncio.get_running_loop()")
    any_kernel.run(f"before = {PATCHED}\nimport nbtool\n%load_ext nbtool")
    changed = any_kernel.run(f"asyncio.run is before[0]\n{undo}\nafter = {PATCHED}")
    same = any_kernel.run("[one == other for one, other in zip(before, after)]")
    refused = any_kernel.run("asyncio.run(asyncio.sleep(0))")
    again = any_kernel.run(f"{redo}\nasyncio.run(asyncio.sleep(0, 'again'))")

    assert changed.status == "ok"
    assert same.result_text == str([True] * 10)
    assert refused.error_name == "RuntimeError"
    assert again.result_text == "'again'"


NEST = (
    "import importlib.util\n"
    "name = 'nest_asyncio' if importlib.util.find_spec('nest_asyncio') else 'nest_asyncio2'\n"
    "importlib.import_module(name).apply()\n"
)
WORKS = (
    "import asyncio, nbtool\n"
    "async def main(): await asyncio.sleep(0.01); return 'main'\n"
    "async def deep(): await asyncio.sleep(0); return nbtool.run(main())\n"
    "[nbtool.run(deep()), asyncio.run(deep()), await deep(),\n"
    " asyncio.get_event_loop().run_until_complete(deep())]"
)


@pytest.mark.behaviour(27)
@pytest.mark.parametrize("order", ["before", "after"])
def test_door_works_with_nest_asyncio_applied(any_kernel, order):
    any_kernel.run(NEST if order == "before" else "import nbtool")
    any_kernel.run("import nbtool" if order == "before" else NEST)
    cells = [any_kernel.run(WORKS) for _ in range(2)]

    assert [(cell.result_text, cell.error_value) for cell in cells] == [(str(["main"] * 4), "")] * 2


@pytest.mark.behaviour(27)
def test_nest_asyncio_applied_afterwards_leaves_the_classes_alone(any_kernel):
    any_kernel.run("import asyncio, nbtool\nbefore = asyncio.Task, asyncio.Future")
    any_kernel.run(NEST)
    cell = any_kernel.run("before == (asyncio.Task, asyncio.Future), asyncio.Task.__module__")

    assert cell.result_text == "(True, '_asyncio')"


@pytest.mark.behaviour(27)
def test_nest_asyncio_can_be_asked_for(any_kernel):
    cell = any_kernel.run("import nbtool\nnbtool.enable_nest_asyncio()")

    assert cell.error_value == ""
    assert any_kernel.run(WORKS).result_text == str(["main"] * 4)


SYNCIFIED = """
import asyncio, dspy, nbtool

class Shout(dspy.Module):
    async def aforward(self, text):
        await asyncio.sleep(0.01)
        return text.upper()

dspy.syncify(Shout())(text="hello"), asyncio.Task.__module__
"""


@pytest.mark.behaviour(28)
@pytest.mark.place("dspy")
@pytest.mark.other_environment
def test_syncify_of_dspy_works_in_a_cell_and_tasks_stay_as_they_are(made):
    environment = made("dspy")
    if environment.python is None:
        pytest.skip(f"not run: dspy could not be made: {environment.reason}")
    with Kernel(environment.python, import_from=[CHECKOUT]) as kernel:
        cell = kernel.run(SYNCIFIED, timeout_s=100)

    assert (cell.result_text, cell.error_value) == ("('HELLO', '_asyncio')", "")
