"""Single flight: what is asked several times at once is asked of the provider once.

The request is a task of its own. Nobody waits for the task itself: each caller has a future of its
own, so that one can be cancelled or time out without touching the others; the last one that
leaves takes the request with it.

Callers share within one loop only. Another loop may stand still for as long as its caller waits, in
a thread or below a synchronous call, and a request on it would never end then.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import dataclasses
import weakref
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbtool.runtime.outcome import Outcome, guarded

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable

T = TypeVar("T")

_LAST_WORDS_S = 1.0  # how long a cancelled request may take to close its connection

apart: ContextVar[object] = ContextVar("nbtool_requests_apart", default=None)
"""Requests that are made where this differs share nothing: a second attempt at what seems to hang
must not wait for the first one's request."""


@dataclasses.dataclass(frozen=True, slots=True)
class Landed(Generic[T]):
    """Hold what came of a request.

    Attributes:
        value: The answer; the same object for all who waited.
        is_first: Whether this caller is the first that takes it; one is.
    """

    value: T
    is_first: bool


async def joined(key: Hashable, ask: Callable[[], Awaitable[T]]) -> Landed[T]:
    """Make a request, or wait for the one that is made of the same on this loop.

    Args:
        key: What is asked.
        ask: Makes the request; it runs in the Context of the caller that was there first.

    Returns:
        What `ask` returned.

    Raises:
        Exception: What `ask` raised; each caller but the first gets a copy, where it can be made.
        asyncio.CancelledError: This caller was cancelled, or its own request.
    """
    in_flight = _in_flight_on(asyncio.get_running_loop())
    key = (key, apart.get())
    while True:
        flight = in_flight.get(key)
        is_own = flight is None
        if flight is None:
            flight = in_flight[key] = _Flight(ask, in_flight, key)
        outcome = await flight.wait()
        if is_own or (outcome is not None and not _is_meant_for_one(outcome.error)):
            return flight.taken()
        # Ctrl-C, or the end of the program that made the request: that was meant for its own
        # caller. Ask again.


def _is_meant_for_one(error: BaseException | None) -> bool:
    return error is not None and not isinstance(error, Exception)


class _Flight(Generic[T]):
    """Carry one request for all who ask the same."""

    def __init__(
        self, ask: Callable[[], Awaitable[T]], in_flight: _InFlight, key: Hashable
    ) -> None:
        self._in_flight = in_flight
        self._key = key
        self._waiters: list[asyncio.Future[None]] = []
        self._outcome: Outcome[T] | None = None
        self._is_taken = False
        self._task = asyncio.get_running_loop().create_task(_flown(ask), name="nbtool request")
        self._task.add_done_callback(self._end)

    def _end(self, task: asyncio.Task[Outcome[T]]) -> None:
        self._leave_table()
        if not task.cancelled():
            self._outcome = task.result()
        for waiter in self._waiters:  # the caller that was there first is the first to take
            if not waiter.done():
                waiter.set_result(None)

    def _leave_table(self) -> None:
        """Let whoever asks the same from now on make a request of its own."""
        if self._in_flight.get(self._key) is self:
            del self._in_flight[self._key]

    async def wait(self) -> Outcome[T] | None:
        """Wait until the request has ended; None where it was cancelled."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except BaseException as error:
            self._waiters.remove(waiter)
            if not self._waiters and not self._task.done():
                self._cancel()
                if isinstance(error, asyncio.CancelledError):
                    with contextlib.suppress(asyncio.CancelledError):  # a second one
                        await asyncio.wait([self._task], timeout=_LAST_WORDS_S)
            raise
        return self._outcome

    def _cancel(self) -> None:
        self._leave_table()
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the request with it
            self._task.cancel()

    def taken(self) -> Landed[T]:
        """Return or raise what came of it."""
        __tracebackhide__ = True
        is_first, self._is_taken = not self._is_taken, True
        if self._outcome is None:
            raise asyncio.CancelledError
        if self._outcome.error is not None:
            raise self._outcome.error if is_first else _twin(self._outcome.error)
        return Landed(self._outcome.value_or_raise(), is_first)


_InFlight = dict["Hashable", _Flight[Any]]

_tables: weakref.WeakKeyDictionary[asyncio.AbstractEventLoop, _InFlight] = (
    weakref.WeakKeyDictionary()
)


def _in_flight_on(loop: asyncio.AbstractEventLoop) -> _InFlight:
    table = _tables.get(loop)
    if table is None:
        for known in [reference() for reference in _tables.keyrefs()]:
            if known is not None and known.is_closed():
                _tables.pop(known, None)  # a request that never ended holds its loop
        table = _tables[loop] = {}
    return table


async def _flown(ask: Callable[[], Awaitable[T]]) -> Outcome[T]:
    return await guarded(_asked(ask))


async def _asked(ask: Callable[[], Awaitable[T]]) -> T:
    # Called in here, `ask` is not called at all by a task that is cancelled before its first step.
    return await ask()


def _twin(error: BaseException) -> BaseException:
    """Copy an error: one object raised in several tasks would mix their tracebacks."""
    try:
        twin = copy.copy(error)
    except Exception:  # noqa: BLE001 - a foreign error may refuse
        return error
    twin.__cause__ = error.__cause__
    return twin.with_traceback(error.__traceback__)
