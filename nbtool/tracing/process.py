"""The instruments that are always on: callbacks, and the recorder of this process.

It keeps the latest calls.
"""

from __future__ import annotations

from nbtool.tracing import (
    callbacks,  # noqa: F401 # pyright: ignore[reportUnusedImport] - steps tell callbacks from now on
)
from nbtool.tracing.boundary import install
from nbtool.tracing.recorder import Recorder

process_recorder = Recorder()
install(process_recorder)
