"""How many requests may be under way at once, and how many may start in a minute.

Everything here serves callers on several event loops and threads at once: first come, first
served, wherever they wait. A caller that is cancelled leaves its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import threading
import time
import weakref
from asyncio import events
from collections import deque
from typing import TYPE_CHECKING, Any

from nbtool.errors import LMConfigurationError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

MOST_AT_ONE_ADDRESS = 100
"""Requests at once to one address, by all LMs that have no `max_concurrency` of their own."""

_MINUTE_S = 60.0
_LONGEST_NAP_S = 1.0  # what was estimated may turn out to be less, so somebody looks again

_gates: weakref.WeakSet[Gate] = weakref.WeakSet()


@dataclasses.dataclass(slots=True, eq=False)
class _Place:
    """One caller's place in the queue of a gate."""

    future: asyncio.Future[None]
    state: str = "waiting"  # then "inside" or "gone"


class Gate:
    """Let so many in at once and the others wait, first come, first served.

    asyncio's semaphores belong to one loop, and so do those of anyio and aiolimiter.

    Args:
        most: How many may be inside (>= 1).
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._begin_anew()
        _gates.add(self)

    def _begin_anew(self) -> None:
        # Reentrant: a collection at the wrong moment may close a coroutine that is inside.
        self._lock = threading.RLock()
        self._queue: deque[_Place] = deque()
        self.inside = 0

    async def enter(self) -> None:
        """Wait until there is room, and go in; whoever was in calls `leave`."""
        with self._lock:
            if self.inside < self.most and not self._queue:
                self.inside += 1
                return
            place = _Place(asyncio.get_running_loop().create_future())
            self._queue.append(place)
        try:
            await place.future
        except BaseException:  # also where the coroutine is closed
            self._give_up(place)
            raise

    def _give_up(self, place: _Place) -> None:
        with self._lock:
            was_inside, place.state = place.state == "inside", "gone"
            while self._queue and self._queue[-1].state == "gone":  # else they pile up
                self._queue.pop()
        if was_inside:
            self.leave()

    def leave(self) -> None:
        """Go out, and let the next one in."""
        with self._lock:
            self.inside -= 1
            while self._queue and self.inside < self.most:
                place = self._queue.popleft()
                if place.state == "waiting" and _told(place.future):
                    place.state = "inside"
                    self.inside += 1


def _told(future: asyncio.Future[None]) -> bool:
    """Wake a waiter on its own loop; False where that loop has ended."""
    loop = future.get_loop()
    if loop is events._get_running_loop():  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - raises nothing where there is none
        _wake(future)
        return True
    try:
        loop.call_soon_threadsafe(_wake, future)
    except RuntimeError:
        return False
    return True


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Window:
    """Count amounts over the last minute.

    Args:
        most: Largest sum in any such span.
        span_s: Its length, in seconds.
        clock: Tells the time, in seconds.
    """

    def __init__(
        self, most: float, span_s: float = _MINUTE_S, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.most = most
        self._span_s = span_s
        self._clock = clock
        self._entries: deque[list[float]] = deque()  # [when, amount], oldest first
        self._sum = 0.0

    def wait_s(self, amount: float) -> float:
        """Return the seconds until there is room for an amount; 0 where there is.

        What is more than the whole limit has room when nothing else counts any more.
        """
        now = self._clock()
        while self._entries and self._entries[0][0] <= now - self._span_s:
            self._sum -= self._entries.popleft()[1]
        over = self._sum + amount - self.most
        if over <= 0 or not self._entries:
            return 0.0
        for when, counted in self._entries:
            over -= counted
            if over <= 0:
                return max(0.0, when + self._span_s - now)
        return max(0.0, self._entries[-1][0] + self._span_s - now)

    def take(self, amount: float) -> list[float]:
        """Count an amount from now on; returns the entry, for `correct`."""
        entry = [self._clock(), amount]
        self._entries.append(entry)
        self._sum += amount
        return entry

    def correct(self, entry: list[float], amount: float) -> None:
        """Replace an estimate by what it turned out to be."""
        if self._entries and entry[0] >= self._entries[0][0]:  # else it counts no more
            self._sum += amount - entry[1]
        entry[1] = amount


class Admission:
    """Be one request's permission; tell it what the request really used.

    Args:
        waited_s: How long it waited, in seconds.
        correct: Takes the number of tokens.
    """

    def __init__(self, waited_s: float, correct: Callable[[float], None] | None = None) -> None:
        self.waited_s = waited_s
        self._correct = correct

    def used(self, tokens: int) -> None:
        """Replace the estimate of tokens by what the provider counted."""
        if self._correct is not None:
            self._correct(tokens)


class Limits:
    """Hold the limits of an LM and its copies.

    Args:
        max_concurrency: Most requests at once (>= 1).
        requests_per_minute: Most requests that start in any 60 seconds (>= 1).
        tokens_per_minute: Most tokens, prompts and answers, of those requests (>= 1).

    Raises:
        LMConfigurationError: A limit is no positive whole number.
    """

    def __init__(
        self,
        max_concurrency: int | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> None:
        self.given = {
            "max_concurrency": max_concurrency,
            "requests_per_minute": requests_per_minute,
            "tokens_per_minute": tokens_per_minute,
        }
        for name, limit in self.given.items():
            _check(name, limit)
        self._gate = Gate(max_concurrency) if max_concurrency else None
        self._requests = Window(requests_per_minute) if requests_per_minute else None
        self._tokens = Window(tokens_per_minute) if tokens_per_minute else None
        self._turn = Gate(1)  # of those that wait for a window, one looks at the clock
        self._lock = threading.Lock()

    @property
    def counts_tokens(self) -> bool:
        """Whether an estimate of tokens is needed."""
        return self._tokens is not None

    @contextlib.asynccontextmanager
    async def admitted(self, address: str, tokens: int = 0) -> AsyncGenerator[Admission]:
        """Wait until a request may start, and hold its place while it is under way.

        Args:
            address: Whom it goes to; LMs without `max_concurrency` share a gate by it.
            tokens: How many it will use, by estimate.
        """
        asked_s = time.monotonic()
        gate = self._gate or _gate_of(address)
        correct = await self._enter(gate, tokens)
        try:
            yield Admission(time.monotonic() - asked_s, correct)
        finally:
            gate.leave()

    async def _enter(self, gate: Gate, tokens: int) -> Callable[[float], None] | None:
        if self._requests is None and self._tokens is None:
            await gate.enter()
            return None
        # One after the other, so that nobody with a small request passes one with a large one;
        # and outside the gate, whose places may be wanted by other LMs.
        await self._turn.enter()
        try:
            while (wait_s := self._wait_s(tokens)) > 0:  # noqa: ASYNC110 - nothing tells that time passes
                await asyncio.sleep(min(wait_s, _LONGEST_NAP_S))
            await gate.enter()
            return self._taken(tokens)
        finally:
            self._turn.leave()

    def _wait_s(self, tokens: int) -> float:
        with self._lock:
            for_request = self._requests.wait_s(1) if self._requests is not None else 0.0
            for_tokens = self._tokens.wait_s(tokens) if self._tokens is not None else 0.0
        return max(for_request, for_tokens)

    def _taken(self, tokens: int) -> Callable[[float], None] | None:
        window = self._tokens
        with self._lock:
            if self._requests is not None:
                self._requests.take(1)
            if window is None:
                return None
            entry = window.take(tokens)

        def correct(counted: float) -> None:
            with self._lock:
                window.correct(entry, counted)

        return correct

    def __reduce__(self) -> tuple[Any, ...]:
        return (Limits, tuple(self.given.values()))  # another process counts for itself


def _check(name: str, limit: Any) -> None:
    is_whole = isinstance(limit, int) and not isinstance(limit, bool)
    if limit is not None and not (is_whole and limit >= 1):
        raise LMConfigurationError(
            f"{name}={limit!r} is no limit: it must be a whole number, 1 or more.",
            hint=f"Write LM(..., {name}=8), or leave it out for no limit.",
        )


# -- what LMs without a limit share --------------------------------------------------------------

_by_address: dict[str, Gate] = {}
_by_address_lock = threading.Lock()


def _gate_of(address: str) -> Gate:
    with _by_address_lock:
        if address not in _by_address:
            _by_address[address] = Gate(MOST_AT_ONE_ADDRESS)
        return _by_address[address]


def _after_fork() -> None:
    global _by_address_lock  # noqa: PLW0603 - a thread that is not here may have held it
    _by_address_lock = threading.Lock()
    for gate in list(_gates):
        gate._begin_anew()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the parent's requests are not the child's


if hasattr(os, "register_at_fork"):  # not on Windows
    os.register_at_fork(after_in_child=_after_fork)
