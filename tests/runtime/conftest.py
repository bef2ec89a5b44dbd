import asyncio
import contextvars
import functools
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from nbtool.runtime.threads import in_worker


class ForeignLoop(asyncio.SelectorEventLoop):
    """A loop that cannot be stepped from outside, as uvloop's: it has its own call_soon."""

    def call_soon(self, *args, **kwargs):
        return super().call_soon(*args, **kwargs)


def on_loop(main, loop_factory=None):
    with asyncio.Runner(loop_factory=loop_factory) as runner:
        return runner.run(main())


async def _in_task(fn):
    return await asyncio.create_task(asyncio.wait_for(_called(fn), 30))


async def _called(fn):
    return fn()


async def _in_callback(fn):
    loop = asyncio.get_running_loop()
    future = loop.create_future()

    def callback():
        try:
            future.set_result(fn())
        except BaseException as error:  # noqa: BLE001 - the test gets it
            future.set_exception(error)

    loop.call_soon(callback)
    return await future


def _in_thread(fn):
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(contextvars.copy_context().run, fn).result()


def _looped(main, loop_factory=None):
    return lambda fn: on_loop(functools.partial(main, fn), loop_factory)


PLACES = {
    "script": lambda fn: fn(),
    "thread": _in_thread,
    "task": _looped(_in_task),
    "callback": _looped(_in_callback),
    "foreign_task": _looped(_in_task, ForeignLoop),
    "foreign_callback": _looped(_in_callback, ForeignLoop),
    "worker": _looped(in_worker),
    "foreign_worker": _looped(in_worker, ForeignLoop),
}


@pytest.fixture(params=PLACES.values(), ids=PLACES)
def place(request):
    """Call a function in one of the places that synchronous code may be in."""
    return request.param


@pytest.fixture
def on_foreign_loop():
    return functools.partial(on_loop, loop_factory=ForeignLoop)


@pytest.fixture
def other_loop():
    """A loop that runs in another thread."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield loop
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def no_gc():
    """Only reference counts free objects."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def _eventually(holds, within_s=3.0):
    end_s = time.monotonic() + within_s
    while not holds() and time.monotonic() < end_s:
        time.sleep(0.005)
    return holds()


@pytest.fixture
def eventually():
    """Say whether a condition comes true soon."""
    return _eventually


@pytest.fixture
def script(tmp_path):
    """Start a program in a process of its own; its output is read as text."""
    started = []

    def start(source, *flags):
        path = tmp_path / "program.py"
        path.write_text(textwrap.dedent(source))
        process = subprocess.Popen(  # noqa: S603 - the test's own program
            [sys.executable, *flags, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)  # its children hold the pipes too
        process.communicate()
