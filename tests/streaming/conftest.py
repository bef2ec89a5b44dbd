"""Programs on a server that streams."""

from __future__ import annotations

import pytest

from nbtool.lm.client import LM


def chat(**fields):
    """Write an answer as `ChatAdapter` reads it."""
    sections = [f"[[ ## {name} ## ]]\n{value}\n\n" for name, value in fields.items()]
    return "".join(sections) + "[[ ## completed ## ]]"


@pytest.fixture(name="chat")
def chat_():
    """Write an answer as `ChatAdapter` reads it: `chat(answer="Paris")`."""
    return chat


@pytest.fixture
def connect():
    """Make an LM for a server, without a cache and without retries by default."""

    def lm(server, **options):
        given = {"api_base": server.base_url, "api_key": "any", "num_retries": 0, "cache": False}
        return LM("openai/test", **{**given, **options})

    return lm
