"""One HTTP session for each event loop, closed when that loop ends.

A connection belongs to the loop that opened it. asyncio has one hook for what must end with a
loop: before it closes one, it ends the asynchronous generators that were begun there
(`asyncio.run` does it, and so do `nbtool.runtime.threads`). So a generator holds the session.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import contextvars
import dataclasses
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aiohttp import ClientSession

_LONGEST_EXIT_S = 1.0


@dataclasses.dataclass(slots=True)
class _Held:
    """Hold one loop's session, the generator that closes it, and what lives as long."""

    session: ClientSession
    lifetime: AsyncGenerator[ClientSession]
    kept: object = None


# A session holds its loop, so weak keys would keep both for ever; ended loops are swept out.
_by_loop: dict[asyncio.AbstractEventLoop, _Held] = {}
_inherited: list[_Held] = []  # of the process that forked this one


async def loops_session() -> ClientSession:
    """Return the HTTP session of the running loop, made at the first call.

    It sets no limit to its connections, and keeps no cookies.
    """
    loop = asyncio.get_running_loop()
    held = _by_loop.get(loop)
    if held is None or held.session.closed:
        _sweep()
        lifetime = _lifetime(loop)
        # In a context of its own: in a cell, `asyncio.run(main())` ends the generators that
        # main() began, and other cells have requests under way on the same loop.
        session = contextvars.Context().run(_begun, lifetime)
        held = _by_loop[loop] = _Held(session, lifetime)
    return held.session


def _begun(lifetime: AsyncGenerator[ClientSession]) -> ClientSession:
    try:
        lifetime.__anext__().send(None)  # it waits for nothing
    except StopIteration as first:
        return first.value
    raise RuntimeError("making a session waited for something")


def keep_with_session(thing: object) -> None:
    """Keep an object as long as the running loop has its session."""
    held = _by_loop.get(asyncio.get_running_loop())
    if held is not None:
        held.kept = thing


async def _lifetime(loop: asyncio.AbstractEventLoop) -> AsyncGenerator[ClientSession]:
    import aiohttp

    # Calls are counted before they cost anything (nbtool.lm.limits), so nothing waits in here,
    # where a request's time limit runs already.
    connector = aiohttp.TCPConnector(limit=0)
    session = aiohttp.ClientSession(connector=connector, cookie_jar=aiohttp.DummyCookieJar())
    try:
        yield session
    finally:
        _by_loop.pop(loop, None)
        await session.close()


def _sweep() -> None:
    """Let go of loops that were closed without notice."""
    for loop in [loop for loop in list(_by_loop) if loop.is_closed()]:
        _end(loop)


def _end(loop: asyncio.AbstractEventLoop) -> None:
    held = _by_loop.pop(loop, None)
    if held is None:
        return
    ending = _ended(held)
    if loop.is_closed():
        with contextlib.suppress(StopIteration):  # nothing can be waited for any more
            ending.send(None)
    elif loop.is_running():  # in a daemon thread
        asyncio.run_coroutine_threadsafe(ending, loop).result(_LONGEST_EXIT_S)
    else:
        loop.run_until_complete(ending)


async def _ended(held: _Held) -> None:
    await held.lifetime.aclose()


@atexit.register
def _end_all() -> None:
    for loop in list(_by_loop):
        with contextlib.suppress(Exception):  # nothing can be mended now
            _end(loop)


def _after_fork() -> None:
    # The parent's connections: closing them here would end them there. They are kept, so that
    # no finalizer does it either.
    _inherited.extend(_by_loop.values())
    _by_loop.clear()


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
