"""Look at the place from which nbtool is called; `nbtool.hosts` judges what was seen."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
import threading
from asyncio import events
from importlib import metadata
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.hosts.facts import Facts
from nbtool.hosts.judgement import Environment, environment_of
from nbtool.runtime import adapter, rehearsal, threads

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.hosts.facts import Shell

T = TypeVar("T")

_PACKAGES = (
    "anywidget",
    "greenlet",
    "ipykernel",
    "ipython",
    "ipywidgets",
    "marimo",
    "nest-asyncio",
    "nest-asyncio2",
    "tornado",
    "uvloop",
)
_MODULES = ("dbruntime", "google.colab", "marimo", "pyodide", "uvicorn", "uvloop")
_HARMLESS = ("COLAB_RELEASE_TAG", "DATABRICKS_RUNTIME_VERSION")
_NAMES_ONLY = ("JPY_SESSION_NAME", "VSCODE_CWD", "VSCODE_PID")
_SERVERS = ("daphne", "granian", "hypercorn", "uvicorn")


def environment() -> Environment:
    """Say where this is called, how synchronous calls wait, what does not work.

    Ask in the place in question: a cell, a coroutine and a thread of one process may differ.

    Returns:
        A small table as text and in notebooks; its attributes are for programs.

    Example:
        >>> import nbtool
        >>> nbtool.environment().door
        'own loop'
    """
    return environment_of(gather_facts())


def gather_facts() -> Facts:
    """Look at all that matters for the judgement; import nothing, never raise.

    Returns:
        The facts; what could not be seen is taken as not there.
    """
    loop = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
    shell = _seen(_ipython_shell, None)
    kernel = getattr(shell, "kernel", None)
    kind: Shell | None = None if shell is None else "terminal" if kernel is None else "kernel"
    return Facts(
        platform=sys.platform,
        python=platform.python_version(),
        implementation=platform.python_implementation(),
        in_main_thread=threading.current_thread() is threading.main_thread(),
        at_prompt=hasattr(sys, "ps1"),
        running_loop=None if loop is None else _class_name(loop),
        has_home_loop=threads.current_job() is not None,
        why_not_parked="" if loop is None else _why_not_parked(loop),
        versions=_versions(),
        shell=kind,
        kernel=None if kernel is None else _kernel_package(kernel),
        stdout=_class_name(sys.stdout),
        modules=tuple(name for name in _MODULES if name in sys.modules),
        environ=_environ(),
        has_notebook_file=_seen(lambda: _has_notebook_file(shell), False),
        in_marimo=_seen(lambda: bool(sys.modules["marimo"].running_in_notebook()), False),
        can_run_sync=_seen(lambda: bool(sys.modules["pyodide.ffi"].can_run_sync()), False),
        server=_seen(_server, ""),
        nest_asyncio=_is_nest_applied(),
        asyncio_adapter=adapter.is_installed(),
    )


def _seen(look: Callable[[], T], otherwise: T) -> T:
    """Look at something that belongs to others; what breaks there counts as not there."""
    try:
        return look()
    except Exception:  # noqa: BLE001 - whoever asks what is wrong here must get an answer
        return otherwise


def _ipython_shell() -> Any:
    ipython = sys.modules.get("IPython")  # never import it just to look
    return None if ipython is None else ipython.get_ipython()


def _has_notebook_file(shell: Any) -> bool:
    return "__vsc_ipynb_file__" in shell.user_ns


def _why_not_parked(loop: asyncio.AbstractEventLoop) -> str:
    return _seen(lambda: rehearsal.why_not(loop), "it could not be tried")


def _class_name(thing: object) -> str:
    return f"{type(thing).__module__}.{type(thing).__qualname__}"


def _kernel_package(kernel: object) -> str:
    packages = [kind.__module__.partition(".")[0] for kind in type(kernel).__mro__]
    return "ipykernel" if "ipykernel" in packages else packages[0]


def _versions() -> dict[str, str]:
    found = {name: _seen(lambda name=name: metadata.version(name), "") for name in _PACKAGES}
    return {name: version for name, version in found.items() if version}


def _environ() -> dict[str, str | None]:
    values: dict[str, str | None] = {name: os.environ.get(name) for name in _HARMLESS}
    known = {name: value for name, value in values.items() if value is not None}
    return known | {name: None for name in _NAMES_ONLY if name in os.environ}


def _server() -> str:
    """Find a web server among the callers of the main thread's code.

    That a server was imported says nothing: marimo and many a library bring one along.
    """
    ident = threading.main_thread().ident
    frame = sys._current_frames().get(ident or 0)  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - there is no public way to see another thread's stack
    while frame is not None:
        package = str(frame.f_globals.get("__name__")).partition(".")[0]
        if package in _SERVERS:
            return package
        frame = frame.f_back
    return ""


def _is_nest_applied() -> bool:
    """Tell nest_asyncio's mark from ours, which keeps it from replacing asyncio's classes."""
    if asyncio.Task is getattr(asyncio.tasks, "_PyTask", None):
        return True
    return hasattr(asyncio, "_nest_patched") and not adapter.is_installed()
