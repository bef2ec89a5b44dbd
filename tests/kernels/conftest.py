"""Real kernels. ``NBTOOL_KERNEL_PYTHON`` names the interpreter, else it is the one of the tests."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from nbtool.testing.kernel import Kernel

CHECKOUT = Path(__file__).resolve().parents[2]


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
