"""`Stop`: one branch that waits, and `Decision`: what it is told."""

from __future__ import annotations

import dataclasses
import itertools
import threading
import time
from asyncio import events
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from nbtool.tracing.span import Span

Place = Literal["before", "after", "failed", "inside"]
Reason = Literal["pause", "step", "breakpoint", "error", "breakpoint()", "edit"]
_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """Tell a branch that waits how to go on.

    Attributes:
        verb: Go on; end the step with `value`; run it again; or let its error go.
        value: What the step shall return.
        fn: What runs instead of the step's function.
        is_free: The branch runs until the next pause, while others wait.
    """

    verb: Literal["go", "skip", "retry", "raise"]
    value: Any = None
    fn: Callable[..., Any] | None = None
    is_free: bool = False


GO = Decision("go")


class Stop:
    """Be one branch that waits at a boundary.

    Args:
        span: The step at whose boundary it waits.
        place: Where: before the step, after it, where it has failed; or inside, at
            `nbtool.breakpoint`.
        reason: Why it stopped.
        fn: The step's function.
        error: What the step has raised.
        note: What a person should know about it, e.g. that a breakpoint's predicate failed.
        values: Local variables, at `nbtool.breakpoint`.

    Attributes:
        number: Unique in this process.
        since_s: `time.monotonic` when it began to wait.
    """

    def __init__(
        self,
        span: Span,
        place: Place,
        reason: Reason,
        fn: Callable[..., Any] | None = None,
        *,
        error: Exception | None = None,
        note: str = "",
        values: dict[str, Any] | None = None,
    ) -> None:
        self.number = next(_numbers)
        self.span = span
        self.place: Place = place
        self.reason: Reason = reason
        self.fn = fn
        self.error = error
        self.note = note
        self.values = values or {}
        self.since_s = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._future: asyncio.Future[Decision] | None = None

    def arm(self, loop: asyncio.AbstractEventLoop) -> asyncio.Future[Decision]:
        """Return the future that the branch waits for, on its own loop."""
        self._loop = loop
        self._future = loop.create_future()
        return self._future

    def tell(self, decision: Decision) -> None:
        """Let the branch go on, from any thread."""
        loop, future = self._loop, self._future
        if loop is None or future is None or loop.is_closed():
            return
        if events._get_running_loop() is loop:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
            _settle(future, decision)
        else:
            loop.call_soon_threadsafe(_settle, future, decision)

    def cancel(self) -> None:
        """End the branch, from any thread."""
        loop, future = self._loop, self._future
        if loop is not None and future is not None and not loop.is_closed():
            loop.call_soon_threadsafe(future.cancel, "stopped")

    def __repr__(self) -> str:
        said = f": {self.error!r}" if self.error is not None else ""
        return (
            f"<Stop {self.place} {self.span.kind} {self.span.name!r} (step {self.span.id}){said}>"
        )


def _settle(future: asyncio.Future[Decision], decision: Decision) -> None:
    if not future.done():
        future.set_result(decision)


class Waiting:
    """Hold the branches that wait, oldest first, and the lock for them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()  # steps of worker threads, clicks and cells meet here
        self._stops: dict[int, Stop] = {}

    def __len__(self) -> int:
        return len(self._stops)

    def all(self) -> list[Stop]:
        """Return the branches that wait, oldest first."""
        with self.lock:
            return list(self._stops.values())

    def add(self, stop: Stop) -> None:
        """Take up a branch that waits."""
        self._stops[stop.number] = stop

    def take(self, stop: Stop) -> bool:
        """Forget a branch that is told to go on; False where it was told before."""
        return self._stops.pop(stop.number, None) is not None
