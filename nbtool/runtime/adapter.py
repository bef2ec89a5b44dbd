"""`asyncio.run(main())` in a notebook: the guide's programs verbatim.

In a kernel a loop is always running, so asyncio refuses `asyncio.run`, `Runner.run` and
``loop.run_until_complete``. Installed, these go through the door instead, and only where the loop
of the calling thread runs; everywhere else they are what they were. As in a script, the tasks that
``main()`` leaves behind are cancelled and awaited, and its async generators closed.

No class of asyncio changes its identity, Task and Future are untouched, and `uninstall` puts back
what was there. In a script nothing is installed.
"""

from __future__ import annotations

import asyncio
import contextlib
from asyncio import events
from typing import TYPE_CHECKING, Any

from nbtool.runtime.door import run
from nbtool.runtime.program import as_program

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

_undo: list[Callable[[], None]] = []
_MISSING: Any = object()


def is_installed() -> bool:
    """Tell whether `install` is in force."""
    return bool(_undo)


def install(loop: asyncio.AbstractEventLoop) -> None:
    """Let blocking calls of asyncio work on a loop that runs.

    Args:
        loop: The kernel's loop.
    """
    if _undo:
        return
    _replace(asyncio, "run", _asyncio_run(asyncio.run))
    _replace(asyncio.runners, "run", asyncio.run)
    _replace(asyncio.Runner, "run", _runner_run(asyncio.Runner.run))
    _replace(loop, "run_until_complete", _run_until_complete(loop, loop.run_until_complete))
    # nest_asyncio looks at these marks, and then leaves the classes of asyncio alone. The loop's
    # is on its class: a second attribute of its own costs each task switch 7 % on Python 3.13,
    # which keeps only as many attributes inline as its instances had before.
    _replace(type(loop), "_nest_patched", True)
    _replace(asyncio, "_nest_patched", True)
    _replace(asyncio.Runner, "close", _runner_close(asyncio.Runner.close))
    with contextlib.suppress(ImportError):  # litellm needs it, but other clients may do without
        import anyio

        _replace(anyio, "run", _anyio_run(anyio.run))


def uninstall() -> None:
    """Put back what `install` replaced; nothing happens where it is not installed."""
    while _undo:
        _undo.pop()()


def _replace(owner: Any, name: str, value: Any) -> None:
    # Not by vars(): once a loop's __dict__ was looked at, each attribute of it is slower, and
    # with that every task switch by a seventh (Python 3.11 and later keep attributes inline).
    before = getattr(owner, name, _MISSING)
    inherited = getattr(owner.__class__, name, _MISSING)
    is_own = before is not _MISSING and getattr(before, "__func__", before) is not inherited
    setattr(owner, name, value)

    def put_back() -> None:
        if getattr(owner, name, _MISSING) is not value:
            return  # somebody else has replaced it since: theirs stays
        if is_own:
            setattr(owner, name, before)
        else:
            delattr(owner, name)

    _undo.append(put_back)


def _is_running() -> bool:
    return events._get_running_loop() is not None  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none


def _asyncio_run(original: Callable[..., Any]) -> Callable[..., Any]:
    # Not functools.wraps: `environment()` sees by the module whose function this is.
    def asyncio_run(main: Coroutine[Any, Any, Any], **options: Any) -> Any:
        return run(as_program(main)) if _is_running() else original(main, **options)

    return asyncio_run


def _runner_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def runner_run(self: Any, coro: Coroutine[Any, Any, Any], **options: Any) -> Any:
        return run(as_program(coro)) if _is_running() else original(self, coro, **options)

    return runner_run


def _runner_close(original: Callable[..., Any]) -> Callable[..., Any]:
    def runner_close(self: Any) -> None:
        running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `_is_running`
        if running is None:
            original(self)
            return
        # The runner's own loop never ran; to end it the other one must seem to stand still.
        asyncio._set_running_loop(None)  # noqa: SLF001 - what asyncio has for those who nest loops
        try:
            original(self)
        finally:
            asyncio._set_running_loop(running)  # noqa: SLF001 - as above
            asyncio.set_event_loop(running)

    return runner_close


def _anyio_run(original: Callable[..., Any]) -> Callable[..., Any]:
    def anyio_run(func: Callable[..., Any], *args: Any, **options: Any) -> Any:
        if _is_running() and options.get("backend", "asyncio") == "asyncio":
            return run(as_program(func(*args)))
        return original(func, *args, **options)

    return anyio_run


def _run_until_complete(
    loop: asyncio.AbstractEventLoop, original: Callable[..., Any]
) -> Callable[..., Any]:
    def run_until_complete(future: Awaitable[Any]) -> Any:
        is_below = events._get_running_loop() is loop  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `_is_running`
        return run(future) if is_below else original(future)

    return run_until_complete
