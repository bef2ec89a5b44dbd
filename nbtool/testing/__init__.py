"""Parts for tests of LM programs: an LM without a provider, and a provider without a model.

Public, and used by nbtool's own tests, docs and notebooks.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nbtool.testing.answers import Answer, Drop, Failure, Hang
    from nbtool.testing.dummy import DummyLM
    from nbtool.testing.kernel import Kernel
    from nbtool.testing.recordings import replayed
    from nbtool.testing.server import ScriptedServer

__all__ = ["Answer", "Drop", "DummyLM", "Failure", "Hang", "Kernel", "ScriptedServer", "replayed"]

_HOMES = {
    "Answer": "nbtool.testing.answers",
    "Drop": "nbtool.testing.answers",
    "DummyLM": "nbtool.testing.dummy",
    "Failure": "nbtool.testing.answers",
    "Hang": "nbtool.testing.answers",
    "Kernel": "nbtool.testing.kernel",
    "ScriptedServer": "nbtool.testing.server",
    "replayed": "nbtool.testing.recordings",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
