"""The recorder that is always on: it keeps the latest calls of this process."""

from __future__ import annotations

from nbtool.tracing.boundary import install
from nbtool.tracing.recorder import Recorder

process_recorder = Recorder()
install(process_recorder)
