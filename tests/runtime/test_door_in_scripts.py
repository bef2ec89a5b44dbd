"""What `run` does to a whole process: clean exits, and Ctrl-C."""

import os
import signal
import time

import pytest

STRICT = ("-X", "dev", "-W", "error")

FOREIGN_LOOP = """
import asyncio

class ForeignLoop(asyncio.SelectorEventLoop):
    def call_soon(self, *args, **kwargs):
        return super().call_soon(*args, **kwargs)

def on_foreign_loop(main):
    with asyncio.Runner(loop_factory=ForeignLoop) as runner:
        return runner.run(main)
"""

BUSY = """
import asyncio, gc, threading
from nbtool.runtime.door import run

async def numbers():
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        print("generator closed", flush=True)

async def background():
    try:
        await asyncio.sleep(30)
    finally:
        print("task ended", flush=True)

kept = []

async def chain():
    generator = numbers()
    kept.append((generator, asyncio.create_task(background())))
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    return await anext(generator)

def work():
    return run(chain()) + run(chain())
"""


def finished(process):
    """Wait for the end, and return exit code, lines printed, and what went to stderr."""
    out, err = process.communicate(timeout=30)
    return process.returncode, out.split("\n")[:-1], err


def interrupted(process, *, after="ready"):
    """Send Ctrl-C once the program has printed a line, and return the time of that."""
    assert process.stdout.readline().strip() == after
    time.sleep(0.1)
    os.kill(process.pid, signal.SIGINT)
    return time.monotonic()


# -- clean exits ---------------------------------------------------------------------------------


def test_a_process_that_used_run_ends_without_a_warning(script):
    code, lines, err = finished(script(BUSY + "work()\n", *STRICT))

    assert (code, err) == (0, "")
    assert sorted(lines) == ["generator closed"] * 2 + ["task ended"] * 2


def test_a_thread_that_used_run_closes_its_loop_when_it_ends(script):
    source = BUSY + "t = threading.Thread(target=work); t.start(); t.join(); print('joined')\n"

    code, lines, err = finished(script(source, *STRICT))

    assert (code, err) == (0, "")
    assert sorted(lines[:-1]) == ["generator closed"] * 2 + ["task ended"] * 2
    assert lines[-1] == "joined"


def test_threads_that_are_still_there_at_exit_leave_no_warning(script):
    source = (
        BUSY
        + """
done = threading.Event()
def stay():
    work()
    done.set()
    threading.Event().wait()
threading.Thread(target=stay, daemon=True).start()
done.wait()
"""
    )

    code, lines, err = finished(script(source, *STRICT))

    assert (code, err) == (0, "")
    assert sorted(lines) == ["generator closed"] * 2 + ["task ended"] * 2


def test_a_foreign_loop_that_used_run_leaves_no_warning(script):
    source = FOREIGN_LOOP + BUSY + "async def main(): work()\non_foreign_loop(main())\n"

    code, lines, err = finished(script(source, *STRICT))

    assert (code, err) == (0, "")
    assert sorted(lines) == ["generator closed"] * 2 + ["task ended"] * 2


def test_asyncio_run_beside_run_leaves_no_warning(script):
    source = BUSY + "async def main(): work()\nwork(); asyncio.run(main()); work()\n"

    code, lines, err = finished(script(source, *STRICT))

    assert (code, err) == (0, "")
    assert sorted(lines) == ["generator closed"] * 6 + ["task ended"] * 6


def test_a_thread_that_runs_on_after_cancel_does_not_keep_the_process(script):
    source = """
import asyncio, time
from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker
try:
    run(in_worker(lambda: time.sleep(60)), timeout_s=0.1)
except TimeoutError:
    print("timeout", flush=True)
"""
    start_s = time.monotonic()

    assert finished(script(source, *STRICT)) == (0, ["timeout"], "")
    assert time.monotonic() - start_s < 15


# -- processes that fork -------------------------------------------------------------------------

FORKING = (
    FOREIGN_LOOP
    + """
import os, threading
from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker

async def in_executor():
    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
    return await in_worker(lambda: 7)

async def inside():
    return run(in_executor())

def work():
    return run(in_executor()) + on_foreign_loop(inside())

work()
pid = os.fork()
if not pid:
    print("child", work(), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print("parent", work(), flush=True)
"""
)


def test_run_and_workers_work_in_a_child_that_was_forked(script):
    code, lines, _ = finished(script(FORKING))

    assert (code, lines) == (0, ["child 14", "parent 14"])


LATE = """
import atexit, builtins, threading, time, asyncio, nbtool

async def later(value):
    await asyncio.sleep(0.01)
    return value

async def numbers():
    try:
        yield 1
        yield 2
    finally:
        print("finally", nbtool.run(later("works")), flush=True)

class Goodbye:
    def __del__(self):
        print("del", nbtool.run(later("works")), flush=True)

def tell():
    print("exit", nbtool.run(nbtool.Tool(lambda: "works", name="tool").acall()), flush=True)

async def forget():
    forgotten = numbers()
    await anext(forgotten)
    {where}

nbtool.run(later(0))
"""
LATE_PLACES = {
    "atexit": ("pass", "atexit.register(tell)", "exit works"),
    "thread after main": (
        "pass",
        "threading.Thread(target=lambda: (time.sleep(0.2), tell())).start()",
        "exit works",
    ),
    "__del__ at the end": ("pass", "builtins.kept = Goodbye()", "del works"),
    "finaliser, collected": (
        "del forgotten; await asyncio.sleep(0.1)",
        "asyncio.run(forget())",
        "finally works",
    ),
    "finaliser, loop ends": (
        "builtins.kept = forgotten",
        "asyncio.run(forget())",
        "finally works",
    ),
    "finaliser, own loop ends": (
        "builtins.kept = forgotten",
        "nbtool.run(forget())",
        "finally works",
    ),
}


@pytest.mark.parametrize(("where", "do", "told"), LATE_PLACES.values(), ids=LATE_PLACES)
def test_run_works_at_the_end_of_things(script, where, do, told):
    program = LATE.replace("{where}", where) + do
    code, lines, errors = finished(script(program, "-X", "dev", "-W", "error"))

    assert (code, lines, errors) == (0, [told], "")


FORKED_AWAY = """
import asyncio, os, threading, nbtool
from nbtool.errors import LoopError

class Slow(nbtool.Module):
    async def aforward(self):
        await asyncio.sleep(30)

async def futures():
    call = Slow().acall()
    task = asyncio.create_task(call)
    await asyncio.sleep(0.01)
    return [asyncio.get_running_loop().create_future(), task, call]

def refused(awaitable):
    try:
        nbtool.run(awaitable)
    except LoopError as error:
        return "process that forked" in str(error)

async def main():
    other = asyncio.new_event_loop()
    threading.Thread(target=other.run_forever, daemon=True).start()
    theirs = asyncio.run_coroutine_threadsafe(futures(), other).result()
    mine = await futures()
    pid = os.fork()
    if pid == 0:
        print([refused(each) for each in (*mine, *theirs)], nbtool.running(), flush=True)
        print(nbtool.run(asyncio.sleep(0, "works")), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
    os._exit(0)

asyncio.run(main())
"""


def test_futures_of_the_parent_are_refused_in_a_child_that_was_forked(script):
    code, lines, _ = finished(script(FORKED_AWAY))

    assert (code, lines) == (0, [f"{[True] * 6} []", "works"])


# -- Ctrl-C --------------------------------------------------------------------------------------

INTERRUPTED = (
    FOREIGN_LOOP
    + """
import time
from nbtool.runtime.door import run

async def chain():
    print("ready", flush=True)
    try:
        {body}
    finally:
        print("finally", flush=True)

def sync():
    try:
        run(chain())
    except KeyboardInterrupt:
        print("interrupted", flush=True)
        raise

async def main():
    sync()

{call}
"""
)

BODIES = {
    "sleeping": "await asyncio.sleep(30)",
    "blocking": "time.sleep(30)",
    "gathering": "await asyncio.gather(*[asyncio.sleep(30) for _ in range(3)])",
    "beside_a_thread": "await asyncio.gather(asyncio.to_thread(int), asyncio.sleep(30))",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_ctrl_c_ends_a_chain_at_once_and_lets_it_clean_up(script, body):
    process = script(INTERRUPTED.format(body=body, call="sync()"), *STRICT)
    sent_s = interrupted(process)

    code, lines, err = finished(process)

    assert time.monotonic() - sent_s < 2
    assert (code, lines) == (-signal.SIGINT, ["finally", "interrupted"])
    assert err.rstrip().endswith("KeyboardInterrupt")
    assert "destroyed" not in err
    assert "never" not in err


def test_ctrl_c_in_a_blocking_child_task_ends_the_chain(script):
    body = """async def child(): time.sleep(30)
        await asyncio.gather(child(), asyncio.sleep(30))"""
    process = script(INTERRUPTED.format(body=body, call="sync()"), *STRICT)
    sent_s = interrupted(process)

    code, lines, err = finished(process)

    assert time.monotonic() - sent_s < 2
    assert (code, lines) == (-signal.SIGINT, ["finally", "interrupted"])
    assert "destroyed" not in err
    assert "never" not in err


@pytest.mark.parametrize("body", [BODIES["sleeping"], BODIES["gathering"]])
def test_ctrl_c_ends_a_chain_that_the_main_task_of_a_foreign_loop_waits_for(script, body):
    call = "with asyncio.Runner(loop_factory=ForeignLoop) as runner: runner.run(main())"
    process = script(INTERRUPTED.format(body=body, call=call), *STRICT)
    sent_s = interrupted(process)

    code, lines, err = finished(process)

    assert time.monotonic() - sent_s < 2
    assert (code, lines) == (-signal.SIGINT, ["finally"])
    assert err.rstrip().endswith("KeyboardInterrupt")


SWALLOWING = """
        while True:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                print("swallowed", flush=True)"""


def test_ctrl_c_abandons_a_chain_that_swallows_cancellation(script):
    process = script(INTERRUPTED.format(body=SWALLOWING, call="sync()"))
    sent_s = interrupted(process)

    code, lines, _ = finished(process)

    assert time.monotonic() - sent_s < 4
    assert code == -signal.SIGINT
    assert lines[:2] == ["swallowed", "interrupted"]


def test_a_second_ctrl_c_cuts_the_clean_up_short(script):
    process = script(INTERRUPTED.format(body=SWALLOWING, call="sync()"))
    interrupted(process)
    sent_s = interrupted(process, after="swallowed")

    assert process.stdout.readline().strip() == "interrupted"
    assert time.monotonic() - sent_s < 0.7


NEXT = """
    time.sleep(0.1)
    print(run(asyncio.sleep(0, "next")), flush=True)
"""


@pytest.mark.parametrize("body", [*BODIES.values(), SWALLOWING], ids=[*BODIES, "swallowing"])
def test_the_next_run_works_after_ctrl_c(script, body):
    call = "try:\n    sync()\nexcept KeyboardInterrupt:" + NEXT
    process = script(INTERRUPTED.format(body=body, call=call))
    interrupted(process)

    assert "next" in finished(process)[1]


WITHOUT_SIGNALS = """
loop = ForeignLoop()
try:
    loop.run_until_complete(main())
except KeyboardInterrupt:
    async def again(): {again}
    loop.run_until_complete(again())
    loop.close()
"""


@pytest.mark.parametrize("body", [*BODIES.values(), SWALLOWING], ids=[*BODIES, "swallowing"])
def test_the_next_run_works_after_ctrl_c_on_a_foreign_loop(script, body):
    call = WITHOUT_SIGNALS.format(again=NEXT.strip().replace("\n    ", "; "))
    process = script(INTERRUPTED.format(body=body, call=call))
    sent_s = interrupted(process)
    _, lines, _ = finished(process)

    assert [line for line in lines if line in {"interrupted", "next"}] == ["interrupted", "next"]
    assert time.monotonic() - sent_s < 5
