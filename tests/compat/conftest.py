"""Two libraries, one provider."""

from __future__ import annotations

import os

import pytest


@pytest.fixture(scope="session")
def fresh(tmp_path_factory):
    """The environment of an interpreter that has no keys and a home of its own."""
    dropped = ("_KEY", "_TOKEN")
    kept = {name: text for name, text in os.environ.items() if not name.endswith(dropped)}
    return {**kept, "HOME": str(tmp_path_factory.mktemp("home"))}
