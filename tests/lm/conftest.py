"""A language model whose provider is a scripted server."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from nbtool.lm.client import LM


@pytest.fixture
def api_key():
    return "sk-test-ABCDEF0123456789abcdef"


@pytest.fixture
async def connect(api_key):
    """Make an LM for a server: `connect(server, num_retries=2)`; without retries by default."""

    def lm(server, **options):
        given = {"api_base": server.base_url, "api_key": api_key, "num_retries": 0}
        return LM("openai/test", **{**given, **options})

    yield lm
    litellm: Any = sys.modules.get("litellm")
    if hasattr(litellm, "in_memory_llm_clients_cache"):
        # It keeps a client for each address for an hour, also when the loop has ended.
        await litellm.close_litellm_async_clients()
        litellm.in_memory_llm_clients_cache.flush_cache()
