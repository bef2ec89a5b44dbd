from __future__ import annotations

import asyncio
import gc
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import greenlet
import pytest

from nbtool.runtime.parked import park_until, parked_count

ROOT = Path(__file__).resolve().parents[2]
PREAMBLE = """
import asyncio, os, signal, sys, threading, time
from nbtool.runtime.parked import park_until, parked_count

# A shell that runs tests in the background has its children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)

def run(coro):
    loop = asyncio.get_running_loop()
    task = loop.create_task(coro)
    park_until(loop, task)
    return task.result()
"""


def run(coro):
    loop = asyncio.get_running_loop()
    task = loop.create_task(coro)
    park_until(loop, task)
    return task.result()


async def answer(value, after_s=0.0):
    await asyncio.sleep(after_s)
    return value


def turn_once(loop, call):
    """Run a callback that stops the loop, in its last turn."""
    results = []
    loop.call_soon(lambda: (results.append(call()), loop.stop()))
    loop.run_forever()
    return results


def run_with_asyncio_run(coro):
    return asyncio.run(coro)


def run_with_runner(coro):
    with asyncio.Runner() as runner:
        runner.run(answer(None))
        return runner.run(coro)


def run_with_loop(coro):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(coro)
    finally:
        loop.close()


ENDINGS = [run_with_asyncio_run, run_with_runner, run_with_loop]


def script(source):
    return subprocess.Popen(  # noqa: S603 - the command is written here
        [sys.executable, "-W", "error", "-c", PREAMBLE + textwrap.dedent(source)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.fixture(autouse=True)
def nothing_is_left(caplog):
    yield
    gc.collect()
    objects = gc.get_objects()
    left = [each for each in objects if isinstance(each, greenlet.greenlet) and each.parent]
    assert (left, caplog.get_records("call")) == ([], [])


@pytest.mark.parametrize("ending", ENDINGS)
def test_fifty_gathered_calls_give_their_values_on_a_loop_that_ends(ending):
    async def call(number):
        return run(answer(number, after_s=0.001 * (number % 3)))

    async def main():
        return sum(await asyncio.gather(*[call(number) for number in range(50)]))

    assert ending(main()) == 1225


@pytest.mark.parametrize("ending", ENDINGS[:2])
def test_exception_in_one_of_fifty_calls_ends_the_others(ending):
    ended = []

    async def call(number):
        try:
            run(answer(1 // number, after_s=5))
        finally:
            ended.append(number)

    async def main():
        await asyncio.gather(*[call(number) for number in [*range(1, 50), 0]])

    with pytest.raises(ZeroDivisionError):
        ending(main())
    assert len(ended) == 50


@pytest.mark.parametrize("ending", ENDINGS[:2])
def test_call_that_still_waits_when_main_returns_is_cancelled(ending):
    ended = []

    async def call(name):
        try:
            run(asyncio.sleep(5))
        except asyncio.CancelledError:
            ended.append(name)
            raise

    async def main():
        main.tasks = [asyncio.create_task(call(name)) for name in ("at home", "on a runner")]
        await asyncio.sleep(0.001)
        return "main"

    assert (ending(main()), sorted(ended)) == ("main", ["at home", "on a runner"])


def test_call_that_is_not_on_top_of_the_loop_outlives_a_stop_of_it():
    loop = asyncio.new_event_loop()

    async def call(after_s):
        return run(answer(after_s, after_s))

    async def main():
        main.tasks = [asyncio.create_task(call(after_s)) for after_s in (0.01, 0.05)]
        await asyncio.sleep(0.03)

    loop.run_until_complete(main())
    waiting = parked_count(loop)
    value = loop.run_until_complete(main.tasks[1])
    loop.close()
    assert (waiting, value) == (1, 0.05)


def test_stopping_the_loop_ends_the_call_on_top_of_it():
    loop = asyncio.new_event_loop()

    async def call():
        run(asyncio.sleep(5))

    task = loop.create_task(call())
    loop.call_later(0.01, loop.stop)
    loop.run_forever()
    loop.run_until_complete(asyncio.wait([task]))
    loop.close()
    assert task.cancelled()


def test_callbacks_that_wait_are_ended_when_the_loop_stops(caplog):
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(lambda: run(asyncio.sleep(5)))
        loop.call_soon(lambda: run(asyncio.sleep(5)))
        await asyncio.sleep(0.01)
        return parked_count(loop)

    assert asyncio.run(main()) == 2
    assert caplog.text.count("the event loop was stopped while a call was waiting") == 2
    caplog.clear()


def test_callbacks_that_were_ready_at_the_stop_are_called():
    loop, called = asyncio.new_event_loop(), []

    async def call():
        run(answer(None, after_s=0.001))
        loop.stop()
        loop.call_soon(called.append, "later")

    loop.create_task(call())
    loop.run_forever()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    assert called == ["later"]


def test_interrupt_ends_a_call_in_a_script_at_once():
    child = script("""
        async def main():
            try:
                print("ready", flush=True)
                run(asyncio.sleep(20))
            finally:
                print("cleaned", flush=True)
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted", parked_count(None))
    """)
    child.stdout.readline()
    time.sleep(0.1)
    child.send_signal(2)
    assert child.communicate(timeout=10)[0].split() == ["cleaned", "interrupted", "0"]


def test_interrupt_ends_fifty_gathered_calls_without_a_word():
    child = script("""
        async def call():
            run(asyncio.sleep(20))
        async def main():
            asyncio.get_running_loop().call_later(0.2, lambda: print("ready", flush=True))
            await asyncio.gather(*[call() for _ in range(50)])
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
    """)
    child.stdout.readline()
    child.send_signal(2)
    assert child.communicate(timeout=10)[0].split() == ["interrupted"]


@pytest.mark.parametrize("kind", ["KeyboardInterrupt", "SystemExit"])
def test_exit_raised_by_a_handle_comes_out_of_the_oldest_call(kind):
    child = script(f"""
        async def oldest():
            try:
                run(asyncio.sleep(20))
            except {kind} as exc:
                return f"oldest got {{exc}}"
        async def newest():
            return run(asyncio.sleep(0.1, "newest goes on"))
        def fails():
            raise {kind}("it")
        async def main():
            asyncio.get_running_loop().call_later(0.05, fails)
            print(await asyncio.gather(oldest(), newest()))
        asyncio.run(main())
    """)
    assert child.communicate(timeout=10)[0] == "['oldest got it', 'newest goes on']\n"


def test_script_that_ends_with_a_call_still_waiting_says_nothing_of_ours():
    child = script("""
        async def call():
            run(asyncio.sleep(20))
        loop = asyncio.new_event_loop()
        task = loop.create_task(call())
        other = loop.create_task(call())
        loop.run_until_complete(asyncio.sleep(0.01))
        print(parked_count(loop), flush=True)
        os._exit(0)
    """)
    assert child.communicate(timeout=10)[0] == "1\n"


def test_loop_that_is_stopped_by_the_callback_that_waited_leaves_nothing_once_closed():
    loop = asyncio.new_event_loop()
    assert turn_once(loop, lambda: run(answer(1, after_s=0.001))) == [1]
    loop.close()

    assert asyncio.run(outer()) == "inner"


async def outer():
    return run(answer("inner"))


def test_loop_that_is_stopped_in_one_thread_can_go_on_in_another():
    child = script("""
    async def answer(value): return value
    loop = asyncio.new_event_loop()
    def turn(value):
        loop.call_soon(lambda: (print(run(answer(value))), loop.stop()))
        loop.run_forever()
    turn(1)
    thread = threading.Thread(target=turn, args=(2,))
    thread.start()
    thread.join()
    turn(3)
    loop.close()
    """)
    assert (child.communicate(timeout=30)[0], child.returncode) == ("1\n2\n3\n", 0)
