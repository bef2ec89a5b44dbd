"""Real kernels. ``NBTOOL_KERNEL_PYTHON`` names the interpreter, else it is the one of the tests.

A test that asks for ``any_kernel`` or ``any_shared_kernel`` runs in each environment of `KERNELS`
with ``--all-kernels``, else in the first one. What cannot be made is skipped as *not run*.
"""

from __future__ import annotations

import functools
import os
import sys
import time
import types
from pathlib import Path

import pytest

from nbtool.errors import NbtoolError
from nbtool.testing.kernel import Kernel

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
_asked_for = types.SimpleNamespace(all_of_them=False)
KERNELS = ("newest", "python312", "python313", "ipykernel73", "databricks", "colab")
if str(HERE) not in sys.path:
    sys.path.append(str(HERE))

SETUP = """
import asyncio, contextvars, gc, signal, sys, threading, time
import nbtool
from nbtool import run
from nbtool.runtime import interrupt, parked

kernel, loop = get_ipython().kernel, asyncio.get_running_loop()
idle_handler, cell_handler = kernel.saved_sigint_handler, signal.getsignal(signal.SIGINT)
kernels_tasks = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
log, var = [], contextvars.ContextVar("var", default="unset")

async def later(value=None, s=0.02):
    await asyncio.sleep(s)
    return value

def left_over():
    gc.collect()
    tasks = {task.get_coro().__qualname__ for task in asyncio.all_tasks()} - kernels_tasks
    left = {*tasks, *nbtool.running(), *interrupt._waits, *parked._parkings}
    if kernel.saved_sigint_handler is not idle_handler:
        left.add(kernel.saved_sigint_handler)
    if signal.getsignal(signal.SIGINT) is not cell_handler:
        left.add(signal.getsignal(signal.SIGINT))
    return left
"""
_COMPLAINTS = ("was destroyed", "never retrieved", "never awaited", "Exception in callback")


def pytest_configure(config):
    from behaviours import Tables

    _asked_for.all_of_them = config.getoption("--all-kernels")
    config.pluginmanager.register(Tables())


def pytest_generate_tests(metafunc):
    if "kernel_environment" in metafunc.fixturenames:
        names = KERNELS if _asked_for.all_of_them else KERNELS[:1]
        metafunc.parametrize("kernel_environment", names, indirect=True, scope="session")


def pytest_collection_finish(session):
    """Make missing environments here: it takes minutes, and a test's time is limited."""
    if not session.config.option.collectonly:
        for name in {_environment_of(item) for item in session.items} - {None}:
            made(name)


def _environment_of(item):
    return getattr(item, "callspec", None) and item.callspec.params.get("kernel_environment")


@functools.cache
def made(name):
    """Return the `Environment` of that name; it is made where it is missing.

    For the newest one alone, the environment of the tests will do: it has the newest kernel.
    """
    from environments import Environment, environment

    if name == KERNELS[0] and not _asked_for.all_of_them:
        return Environment(name, Path(sys.executable))
    return environment(name)


@pytest.fixture(scope="session", name="made")
def made_environment():
    """Give the function that makes an environment of that name, or says why it cannot."""
    return made


@pytest.fixture(scope="session")
def kernel_python() -> str:
    return os.environ.get("NBTOOL_KERNEL_PYTHON", sys.executable)


@pytest.fixture
def kernel(kernel_python):
    with Kernel(kernel_python, import_from=[CHECKOUT]) as started:
        yield started


@pytest.fixture(scope="module")
def shared_kernel(kernel_python):
    with Kernel(kernel_python, import_from=[CHECKOUT]) as started:
        yield started


@pytest.fixture(scope="session")
def kernel_environment(request) -> str:
    """Give the name of the environment in which the test runs."""
    return request.param


@pytest.fixture(scope="session")
def any_python(kernel_environment) -> Path:
    environment = made(kernel_environment)
    if environment.python is None:
        pytest.skip(f"not run: {environment.name} could not be made: {environment.reason}")
    return environment.python


@pytest.fixture
def any_kernel(any_python):
    with Kernel(any_python, import_from=[CHECKOUT]) as started:
        yield started


@pytest.fixture(scope="module")
def any_shared_kernel(any_python):
    with Kernel(any_python, import_from=[CHECKOUT]) as started:
        yield started


@pytest.fixture(autouse=True)
def known_gap(request):
    """Expect a failure where ``@pytest.mark.gap("colab", reason)`` names the environment."""
    parameters = request.node.callspec.params if hasattr(request.node, "callspec") else {}
    for mark in request.node.iter_markers("gap"):
        if mark.args[0] == parameters.get("kernel_environment"):
            request.applymarker(pytest.mark.xfail(reason=mark.args[1], strict=True))


@pytest.fixture(scope="module")
def started_notebook(any_shared_kernel):
    started = any_shared_kernel.run(SETUP)
    assert started.status == "ok", started.traceback
    return any_shared_kernel


@pytest.fixture
def notebook(started_notebook):
    """Give a kernel with nbtool, and look afterwards that the test left nothing behind in it."""
    log_before = len(started_notebook.log)
    yield started_notebook
    left = _left_over(started_notebook)
    said = started_notebook.log[log_before:] if started_notebook.alive else "it died"
    complaints = [each for each in (*_COMPLAINTS, "it died") if each in said]
    if left != "set()":
        _start_afresh(started_notebook)
    assert (left, complaints) == ("set()", []), said


def _left_over(kernel) -> str | None:
    """Ask for what is left; what was cancelled gets a second to end."""
    left = None
    try:
        for _ in range(10):
            left = kernel.run("left_over()", timeout_s=5).result_text
            if left == "set()":
                break
            time.sleep(0.1)
    except (NbtoolError, TimeoutError) as error:
        left = f"no answer: {error!r}"
    return left


def _start_afresh(kernel) -> None:
    kernel.shutdown(timeout_s=2)
    kernel.start()
    kernel.run(SETUP)
