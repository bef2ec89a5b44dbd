"""Running an asynchronous function for several items at once, none of which outlives the wait."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from nbtool.runtime.outcome import guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from nbtool.runtime.outcome import Outcome

S = TypeVar("S")
T = TypeVar("T")


async def at_once(function: Callable[[S], Awaitable[T]], items: Iterable[S]) -> list[T]:
    """Call a function for all items at once, and wait for all of them.

    Whatever ends this early (a cancellation, or an error for one of the items) cancels the
    others and waits for their end. `asyncio.gather` would let them run on after an error, a
    ``TaskGroup`` would wrap it, and with both ``sys.exit()`` in one of them would stop the loop.

    Args:
        function: Called in a task and a Context of its own for each item.
        items: There should be few: all of them begin now.

    Returns:
        The results, in the order of the items.

    Raises:
        BaseException: What the first of them to fail raised, as it is.
    """
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(_called(function, item), name="nbtool at once") for item in items]
    left = set(tasks)
    try:
        while left:
            done, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result().value_or_raise()
    finally:
        running = [task for task in tasks if not task.done()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
    return [task.result().value_or_raise() for task in tasks]


async def _called(function: Callable[[S], Awaitable[T]], item: S) -> Outcome[T]:
    # The call is made in here: a task that is cancelled before it begins leaves nothing unawaited.
    return await guarded(function(item))
