"""litellm is loaded behind the program's back: fresh processes show how."""

from __future__ import annotations

import json
import os
import time

import pytest

from nbtool.testing.server import ScriptedServer

ASK = 'nbtool.LM("openai/test", api_base=os.environ["BASE"], api_key="sk-" + "a1" * 10)'
TICKER = """
import asyncio, gc, json, os, sys, threading, time, nbtool

stalls = [0.0]

async def tick():
    while True:
        before = time.perf_counter()
        await asyncio.sleep(0.01)
        stalls.append(time.perf_counter() - before - 0.01)
"""


@pytest.mark.parametrize("model_type", ["chat", "text", "responses"])
def test_loop_goes_on_during_a_cold_first_call(run, model_type):
    source = f"""{TICKER}
async def main():
    ticker = asyncio.create_task(tick())
    lm = {ASK}.copy(model_type={model_type!r})
    answer = await lm.acall("x")
    ticker.cancel()
    print(answer, max(stalls), len(stalls))

asyncio.run(main())
"""
    with ScriptedServer(["Paris"]) as server:
        said = run(source, BASE=server.base_url)

    answer, worst_s, ticks = said.stdout.split()
    assert (answer, said.stderr) == ("['Paris']", "")
    assert float(worst_s) < 0.25
    assert int(ticks) > 20


def test_time_limit_of_a_cold_first_call_is_kept_and_nothing_is_sent(run):
    source = f"""{TICKER}
async def main():
    lm = {ASK}
    before = time.perf_counter()
    try:
        await asyncio.wait_for(lm.acall("x"), 0.5)
    except TimeoutError:
        print(time.perf_counter() - before)
    await asyncio.sleep(4)  # long enough to load

asyncio.run(main())
"""
    with ScriptedServer(default="x") as server:
        said = run(source, BASE=server.base_url)

    assert 0.5 <= float(said.stdout) < 0.8
    assert (server.requests, said.stderr) == ([], "")


def test_full_collections_are_put_off_while_litellm_loads_and_come_back(run):
    source = f"""{TICKER}
during, slow, begun = [], [], [0.0]

def look(phase, info):
    if info["generation"] == 2 and phase == "start":
        begun[0] = time.perf_counter()
    elif info["generation"] == 2:
        slow.append(time.perf_counter() - begun[0])

before = gc.get_threshold()
lm = {ASK}
gc.callbacks.append(look)
lm("x")
during = len(slow)
deadline = time.monotonic() + 20
while gc.get_threshold() != before and time.monotonic() < deadline:
    time.sleep(0.05)
time.sleep(1)
print(json.dumps([during, len(slow), gc.get_threshold() == before]))
"""
    with ScriptedServer(default="x") as server:
        said = run(source, BASE=server.base_url)

    assert json.loads(said.stdout) == [0, 1, True]


@pytest.mark.parametrize("own", ["gc.disable()", "gc.set_threshold(500, 5, 5)"])
def test_programs_own_way_with_collections_is_respected(run, own):
    source = f"""{TICKER}
{own}
before = (gc.isenabled(), gc.get_threshold())
{ASK}("x")
time.sleep(2.5)
print((gc.isenabled(), gc.get_threshold()) == before)
"""
    with ScriptedServer(default="x") as server:
        said = run(source, BASE=server.base_url)

    assert said.stdout.split() == ["True"]


def test_abilities_are_right_before_litellm_is_there(run):
    source = """
        import nbtool
        print(nbtool.LM("openai/gpt-4o-mini").supports_response_schema)
    """

    assert run(source).stdout.split() == ["True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_forked_child_can_call_while_its_parent_loads(run):
    source = f"""{TICKER}
lm = {ASK}
time.sleep(0.3)
child = os.fork()
if child == 0:
    print(lm("from the child"), flush=True)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), lm("from the parent"))
"""
    with ScriptedServer(respond=lambda request: request.prompt) as server:
        said = run(source, BASE=server.base_url)

    assert said.stdout.splitlines() == ["['from the child']", "0 ['from the parent']"]


def test_tools_need_no_package_that_litellm_does_not_depend_on(run):
    source = f"""
        import os, sys, nbtool
        sys.modules["mcp"] = None  # it is not installed
        function = {{"name": "f", "parameters": {{"type": "object"}}}}
        tool = {{"type": "function", "function": function}}
        lm = {ASK}
        print(lm("x", tools=[tool]), lm.copy(model_type="responses")("y", tools=[tool]))
    """
    with ScriptedServer(default="x") as server:
        said = run(source, BASE=server.base_url)

    assert said.stdout.split() == ["['x']", "['x']"]


def test_litellm_that_cannot_be_imported_is_told(run):
    source = """
        import sys, nbtool
        sys.modules["litellm"] = None
        try:
            nbtool.LM("openai/test")("x")
        except nbtool.MissingExtraError as error:
            print("litellm" in str(error), bool(error.hint))
    """

    assert run(source).stdout.split() == ["True", "True"]


def test_program_that_ends_with_an_open_loop_says_nothing(run):
    source = f"""
        import asyncio, os, nbtool
        loop = asyncio.new_event_loop()
        print(loop.run_until_complete({ASK}.acall("x")))
    """
    with ScriptedServer(default="x") as server:
        said = run(source, BASE=server.base_url)

    assert (said.stdout, said.stderr) == ("['x']\n", "")


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
