"""nest_asyncio, for whoever asks for it."""

from __future__ import annotations

import asyncio
import logging
import sys
from typing import Any

from nbtool.errors import ConfigurationError, MissingExtraError
from nbtool.runtime import adapter

_log = logging.getLogger("nbtool")


def enable_nest_asyncio() -> None:
    """Apply nest_asyncio to this kernel's loop, for libraries that only work with it.

    nbtool does not need it. It replaces asyncio's Task and Future for the rest of the process,
    which cannot be undone.

    Raises:
        MissingExtraError: Neither nest-asyncio2 nor nest_asyncio is installed.
        ConfigurationError: The loop is uvloop's, which cannot be patched; or none runs.
    """
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "enable_nest_asyncio() was called where no loop runs.", hint="Call it in a cell."
        ) from None
    if type(loop).__module__.partition(".")[0] == "uvloop":
        raise ConfigurationError(
            "uvloop's loop cannot be patched by nest_asyncio.", hint="Use asyncio's own loop."
        )
    nest = _nest_module()
    _warn_of_dropped_cells(nest)
    adapter.uninstall()  # its marks tell nest_asyncio to leave this loop alone
    nest.apply(loop)


def _nest_module() -> Any:
    for name in ("nest_asyncio2", "nest_asyncio"):
        try:
            return __import__(name)
        except ImportError:
            continue
    raise MissingExtraError(
        "nest_asyncio is not installed.", hint='Run: pip install "nbtool-live[nest]"'
    )


def _warn_of_dropped_cells(nest: Any) -> None:
    ipykernel: Any = sys.modules.get("ipykernel")
    if nest.__name__ == "nest_asyncio" and ipykernel.version_info[:2] >= (7, 1):
        _log.warning(
            "nest_asyncio with ipykernel %s drops cells that are queued behind a running one "
            "(Run All). nest-asyncio2 does not: pip install nest-asyncio2",
            ipykernel.__version__,
        )
