"""A language model whose provider is a scripted server."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from nbtool.lm.client import LM

CHECKOUT = Path(__file__).parents[2]


@pytest.fixture
def api_key():
    return "sk-test-ABCDEF0123456789abcdef"


@pytest.fixture
def connect(api_key):
    """Make an LM for a server: `connect(server, num_retries=2)`; without retries by default."""

    def lm(server, model="openai/test", **options):
        given = {"api_base": server.base_url, "api_key": api_key, "num_retries": 0}
        return LM(model, **{**given, **options})

    return lm


@pytest.fixture(scope="session")
def run():
    """Run a program in a fresh interpreter that has no keys; return what it said."""

    def program(source, *, timeout_s=100, **env):
        kept = {n: v for n, v in os.environ.items() if not n.endswith(("_KEY", "_TOKEN"))}
        return subprocess.run(  # noqa: S603 - our own interpreter and sources
            [sys.executable, "-c", textwrap.dedent(source)],
            env={**kept, "PYTHONPATH": str(CHECKOUT), **env},
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    return program
