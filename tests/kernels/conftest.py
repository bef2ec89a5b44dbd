"""Real kernels. ``NBTOOL_KERNEL_PYTHON`` names the interpreter, else it is the one of the tests.

A test that asks for ``any_kernel`` or ``any_shared_kernel`` runs in each environment of `KERNELS`
with ``--all-kernels``, else in the first one. What cannot be made is skipped as *not run*.
"""

from __future__ import annotations

import functools
import os
import sys
from pathlib import Path

import pytest

from nbtool.testing.kernel import Kernel

HERE = Path(__file__).resolve().parent
CHECKOUT = HERE.parents[1]
KERNELS = ("newest", "ipykernel73", "databricks", "colab")


def pytest_addoption(parser):
    parser.addoption(
        "--all-kernels",
        action="store_true",
        help=f"run in all of {', '.join(KERNELS)} instead of {KERNELS[0]} alone",
    )


def pytest_generate_tests(metafunc):
    if "kernel_environment" in metafunc.fixturenames:
        # The option is unknown where pytest met this file after the command line.
        all_of_them = metafunc.config.getoption("--all-kernels", default=False)
        names = KERNELS if all_of_them else KERNELS[:1]
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
    """Return the `Environment` of that name; it is made where it is missing."""
    if str(HERE) not in sys.path:
        sys.path.append(str(HERE))
    from environments import environment

    return environment(name)


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
