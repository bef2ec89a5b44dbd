"""litellm is loaded behind the program's back: fresh processes show how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from nbtool.testing.server import ScriptedServer

CHECKOUT = Path(__file__).parents[2]
ASK = 'nbtool.LM("openai/test", api_base=os.environ["BASE"], api_key="sk-" + "a1" * 10)'


@pytest.fixture(scope="module")
def run():
    """Run a program in a fresh interpreter that has no keys; return what it said."""

    def program(source, **env):
        kept = {n: v for n, v in os.environ.items() if not n.endswith(("_KEY", "_TOKEN"))}
        return subprocess.run(  # noqa: S603 - our own interpreter and sources
            [sys.executable, "-c", textwrap.dedent(source)],
            env={**kept, "PYTHONPATH": str(CHECKOUT), **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return program


def test_loop_goes_on_during_a_cold_first_call(run):
    source = f"""
        import asyncio, os, time, nbtool
        async def main():
            stalls = [0.0]
            async def tick():
                while True:
                    before = time.perf_counter()
                    await asyncio.sleep(0.01)
                    stalls.append(time.perf_counter() - before - 0.01)
            ticker = asyncio.create_task(tick())
            answer = await {ASK}.acall("x")
            ticker.cancel()
            print(answer, max(stalls), len(stalls))
        asyncio.run(main())
    """
    with ScriptedServer(["Paris"]) as server:
        said = run(source, BASE=server.base_url)

    answer, worst_s, ticks = said.stdout.split()
    assert (answer, said.stderr) == ("['Paris']", "")
    assert float(worst_s) < 0.6
    assert int(ticks) > 20


def test_import_and_construction_load_nothing_in_the_calling_thread(run):
    source = """
        import sys, threading, time
        before = time.perf_counter()
        import nbtool
        nbtool.LM("openai/test")
        print(time.perf_counter() - before)
        print(any(t.name == "nbtool-load-litellm" for t in threading.enumerate()))
    """
    took_s, loads_in_a_thread = run(source).stdout.split()

    assert float(took_s) < 0.6
    assert loads_in_a_thread == "True"


def test_import_alone_starts_no_thread_and_loads_no_litellm(run):
    source = """
        import sys, threading, nbtool
        nbtool.configure, nbtool.settings
        print(threading.active_count(), "litellm" in sys.modules)
    """

    assert run(source).stdout.split() == ["1", "False"]


def test_import_has_ended_before_the_interpreter_goes_down(run):
    source = """
        import atexit, threading, time, nbtool
        def look():
            print([t.name for t in threading.enumerate() if t.name == "nbtool-load-litellm"])
        atexit.register(look)  # what is registered first runs last
        nbtool.LM("openai/test")
        time.sleep(0.5)
        look()
    """

    assert run(source).stdout.splitlines() == ["['nbtool-load-litellm']", "[]"]


@pytest.mark.parametrize("after_s", [0, 0.7, 2], ids=["at once", "early", "late"])
def test_script_that_ends_while_litellm_loads_ends_fast_and_silently(run, after_s):
    started = time.perf_counter()
    said = run(f"import nbtool, time; nbtool.LM('openai/test'); time.sleep({after_s})")

    assert (said.returncode, said.stdout, said.stderr) == (0, "", "")
    assert time.perf_counter() - started < after_s + 4


def test_calls_from_a_script_from_threads_and_from_many_loops_work_and_are_silent(run):
    source = f"""
        import asyncio, gc, os, threading, nbtool
        lm = {ASK}
        async def inside():
            return lm("in a loop")
        print(lm("in a script"))
        thread = threading.Thread(target=lambda: print(lm("in a thread")))
        thread.start(); thread.join()
        print(asyncio.run(inside()))
        for n in range(3):
            print(asyncio.run(lm.acall(f"loop {{n}}")))
            gc.collect()
    """
    with ScriptedServer(respond=lambda request: request.prompt) as server:
        said = run(source, BASE=server.base_url)

    asked = ["in a script", "in a thread", "in a loop", "loop 0", "loop 1", "loop 2"]
    assert said.stdout.splitlines() == [repr([text]) for text in asked]
    assert said.stderr == ""


@pytest.fixture(scope="module")
def hints(run):
    """What calls without any key say, by the model's name."""
    source = """
        import json, nbtool
        hints = {}
        for model in ("openai/gpt-4o-mini", "anthropic/claude-3-haiku", "gemini/gemini-1.5-flash"):
            try:
                nbtool.LM(model)("x")
            except nbtool.LMAuthError as error:
                hints[model] = error.hint
        print(json.dumps(hints))
    """
    return json.loads(run(source, OPENAI_BASE_URL="http://127.0.0.1:9").stdout)


@pytest.mark.parametrize(
    ("model", "variable"),
    [
        ("openai/gpt-4o-mini", "OPENAI_API_KEY"),
        ("anthropic/claude-3-haiku", "ANTHROPIC_API_KEY"),
        ("gemini/gemini-1.5-flash", "GEMINI_API_KEY"),
    ],
)
def test_missing_key_is_an_auth_error_that_names_the_variable(hints, model, variable):
    assert variable in hints[model]
