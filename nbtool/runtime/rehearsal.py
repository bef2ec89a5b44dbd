# ruff: noqa: SLF001 - as in `parked`
# pyright: reportPrivateUsage=false
"""Whether a loop can be stepped: by its names, by a rehearsal once per class, and from here."""

from __future__ import annotations

import asyncio
import threading
from asyncio import events
from typing import TYPE_CHECKING, Any

from nbtool.runtime.parked import calling_frame, greenlet, park_until

if TYPE_CHECKING:
    from types import FrameType

_STEPPED = ("run_forever", "_run_once", "_process_events", "call_soon", "call_at")
_SELF_TEST_LIMIT_S = 5.0

_verdicts: dict[type, str] = {}


def supported(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether `park_until` works on this loop and from here; see `why_not`."""
    return not why_not(loop)


def frame_below(loop: asyncio.AbstractEventLoop) -> FrameType | None:
    """Return the frame in which a loop that can be stepped calls us."""
    verdict = _verdicts.get(type(loop))
    if verdict is None:
        verdict = why_not(loop)
    return None if verdict else calling_frame(loop)


def why_not(loop: asyncio.AbstractEventLoop) -> str:
    """Give the reason why `park_until` does not work on this loop, or not from here.

    The first time, it rehearses on a new loop of that class, in a thread of its own so that `loop`
    is left alone (some milliseconds); the verdict is kept.

    Args:
        loop: Any event loop, running or not.

    Returns:
        The reason in words; empty where it works.
    """
    kind = type(loop)
    if kind not in _verdicts:
        _verdicts[kind] = _verdict(kind)
    if _verdicts[kind]:
        return _verdicts[kind]
    # SQLAlchemy calls synchronous code in a greenlet of its own, which cannot be parked: the task
    # may be stepped on another stack than the one to which that greenlet returns.
    if events._get_running_loop() is loop and calling_frame(loop) is None:
        return "the caller is in a greenlet of other code"
    return ""


def _verdict(kind: type[asyncio.AbstractEventLoop]) -> str:
    if greenlet is None:
        return "the package greenlet is not installed"
    if not issubclass(kind, asyncio.BaseEventLoop):
        return f"{kind!r} is no asyncio.BaseEventLoop"
    for name in _STEPPED:
        definer = next(each for each in kind.__mro__ if name in vars(each))
        if not _is_asyncio(definer):
            return f"{definer!r} has its own {name}"
    return _self_test(next(each for each in kind.__mro__ if _is_asyncio(each)))


def _is_asyncio(kind: type) -> bool:
    return kind.__module__.partition(".")[0] == "asyncio"


def _self_test(kind: type[asyncio.BaseEventLoop]) -> str:
    verdict = f"the self-test on {kind.__qualname__} did not end in {_SELF_TEST_LIMIT_S} s"

    def rehearse() -> None:
        nonlocal verdict
        try:
            with asyncio.Runner(loop_factory=kind) as runner:
                works = runner.run(_rehearsal())
            verdict = "" if works else "in the self-test calls went on in the wrong order"
        except Exception as exc:  # noqa: BLE001 - whatever a changed asyncio raises is the reason
            verdict = f"the self-test on {kind.__qualname__} failed: {exc!r}"

    thread = threading.Thread(target=rehearse, name="nbtool-self-test", daemon=True)
    thread.start()
    thread.join(_SELF_TEST_LIMIT_S)
    return verdict


async def _rehearsal() -> bool:
    """Park two tasks, the first to park to go on last; say whether it does."""
    loop = asyncio.get_running_loop()
    early, late, order = loop.create_future(), loop.create_future(), list[Any]()

    async def wait(future: asyncio.Future[None]) -> None:
        park_until(loop, future)
        order.append(future)

    loop.call_later(0.001, early.set_result, None)
    loop.call_later(0.002, late.set_result, None)
    await asyncio.wait_for(asyncio.gather(wait(late), wait(early)), 1)
    return order == [early, late]
