"""A language model whose provider is a scripted server."""

from __future__ import annotations

import pytest

from nbtool.lm.client import LM


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
