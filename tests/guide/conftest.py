"""A provider that knows the answers of the guide's programs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from nbtool.testing.server import ScriptedServer

CHECKOUT = Path(__file__).resolve().parents[2]
# By what is in the last turn; the first that fits counts.
ANSWERS = {
    "observation_1": {"reasoning": "The tool said so.", "answer": "It is 17 degrees."},
    "observation_0": {"next_thought": "Done.", "next_tool_name": "finish", "next_tool_args": "{}"},
    "next_tool_name": {
        "next_thought": "I look it up.",
        "next_tool_name": "get_weather",
        "next_tool_args": '{"city": "Oslo"}',
    },
    "simplified_answer": {"reasoning": "Only the name.", "simplified_answer": "Paris"},
    "[[ ## reasoning ## ]]": {"reasoning": "It is in France.", "answer": "It is Paris."},
    "capital of France": {"answer": "Paris"},
}


def written(fields):
    return "\n\n".join(f"[[ ## {name} ## ]]\n{text}" for name, text in fields.items())


@pytest.fixture(scope="session")
def provider():
    answers = {part: written(fields) for part, fields in ANSWERS.items()}
    with ScriptedServer(by_prompt=answers) as server:
        yield server


@pytest.fixture(scope="session")
def on_provider(tmp_path_factory):
    """Make the variables that let a program use a server as OpenAI, with an empty cache."""

    def variables(server):
        return {
            "MODEL": "openai/gpt-4o-mini",
            "NBTOOL_CACHE_DIR": str(tmp_path_factory.mktemp("cache")),
            "OPENAI_API_KEY": "test",
            "OPENAI_API_BASE": server.base_url,
            "OPENAI_BASE_URL": server.base_url,
        }

    return variables


@pytest.fixture(scope="session")
def fresh():
    """The environment of a fresh interpreter that finds nbtool and has no keys."""
    dropped = ("_KEY", "_TOKEN")
    kept = {name: text for name, text in os.environ.items() if not name.endswith(dropped)}
    return {**kept, "PYTHONPATH": str(CHECKOUT), "COLUMNS": "100"}
