"""`Waiter`: what waits for a call; nobody waits for the chain's own task."""

from __future__ import annotations

import asyncio
from asyncio import events
from typing import Any, Protocol


class Ending(Protocol):
    """Be what is waited for."""

    def end_for(self, waiter: asyncio.Future[None]) -> None:
        """Cancel the chain with a waiter that is cancelled, if nobody else waits."""
        ...


class Waiter(asyncio.Future[None]):
    """Wait for a call; the last waiter that is cancelled takes the chain with it.

    Args:
        loop: The waiter's loop.
        call: The call that is taken along; None where it is left alone.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, call: Ending | None) -> None:
        super().__init__(loop=loop)
        self._call = call

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the waiter, and the chain at once: one turn of the loop can be long."""
        if self._call is not None and not self.done():
            self._call.end_for(self)
        return super().cancel(msg=msg)

    def settle(self, error: Exception | None = None) -> bool:
        """End the wait, from any thread; False where it has ended.

        Args:
            error: What the waiting code gets; None: it looks for itself.
        """
        if self.done():
            return False
        loop = self.get_loop()
        if loop is events._get_running_loop():  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - raises nothing where there is none
            self._settle(error)
        elif not loop.is_closed():
            loop.call_soon_threadsafe(self._settle, error)
        return True

    def _settle(self, error: Exception | None) -> None:
        if self.done():
            return
        if error is None:
            self.set_result(None)
        else:
            self.set_exception(error)
