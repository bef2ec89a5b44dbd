"""`Flow`: an asynchronous function over rows, so many at a time, on the loop that runs.

A row is a task of its own, with a Context of its own, and there are never more tasks than rows may
run at once: the next row is read when one of them has ended. Whoever takes the results may be
slower than the rows; then no further row starts.

A row that fails gives an error record, and the others go on. Mistakes in the program, a budget
that is used up, Ctrl-C and ``sys.exit()`` end everything, for no further row could do better.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import logging
from collections.abc import AsyncIterable
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from nbtool.errors import MISUSE, BudgetError, RowsError
from nbtool.executors.failed import FailedRow
from nbtool.executors.progress import is_row
from nbtool.runtime.outcome import Outcome, guarded, users_frames

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

R = TypeVar("R")
T = TypeVar("T")

_BREATH_ROWS = 100  # so many rows that need no work are passed on before others get their turn
_STOPPING: tuple[type[BaseException], ...] = (*MISUSE, BudgetError)
_log = logging.getLogger("nbtool")


@dataclasses.dataclass(frozen=True, slots=True)
class Rules:
    """Say how rows are run.

    Attributes:
        concurrency: How many run at once (>= 1).
        is_ordered: Whether results come in the order of the rows, or as rows end.
        ahead: How many rows may have begun whose result nobody has taken; None: no limit.
        raises: Whether the first failed row ends everything with its error.
        most_failures: So many failed rows end everything; None: no limit.
        straggler_s: After so many seconds one of the last rows is begun once more, and the first
            result counts; 0: never.
        straggler_limit: How many rows are the last ones.
    """

    concurrency: int
    is_ordered: bool = False
    ahead: int | None = None
    raises: bool = False
    most_failures: int | None = None
    straggler_s: float = 0.0
    straggler_limit: int = 3


@dataclasses.dataclass(frozen=True, slots=True)
class Done(Generic[R, T]):
    """Hold what came of one row.

    Attributes:
        index: Position of the row, from 0.
        row: The row.
        result: What its program returned, or the error record.
        is_known: Whether an earlier run has found the result.
    """

    index: int
    row: R
    result: T | FailedRow
    is_known: bool = False


@dataclasses.dataclass(frozen=True, slots=True)
class Known(Generic[T]):
    """Hold a result that an earlier run has found."""

    result: T


@dataclasses.dataclass(slots=True, eq=False)
class _Entry(Generic[R, T]):
    """One row that is under way, by one attempt or by two."""

    index: int
    row: R
    began_s: float
    attempts: int = 0
    tasks: set[asyncio.Task[Outcome[T]]] = dataclasses.field(
        default_factory=lambda: cast("set[Any]", set())
    )
    timer: asyncio.TimerHandle | None = None
    is_over: bool = False


class Flow(Generic[R, T]):
    """Run a function over rows.

    Args:
        call: Does the work of a row; called with the row and the number of the attempt, from 1.
        rows: The rows. They are read one by one, on the loop.
        rules: How they are run.
        emit: Gets what came of each row, in the order that the rules say.
        ended: Gets the same at once; where it raises, everything ends.
        known: Returns what is known of a row, given with its position before it is run; None:
            nothing.
    """

    def __init__(
        self,
        call: Callable[[R, int], Awaitable[T]],
        rows: Iterable[R] | AsyncIterable[R],
        rules: Rules,
        *,
        emit: Callable[[Done[R, T]], object],
        ended: Callable[[Done[R, T]], object] = bool,
        known: Callable[[int, R], Known[T] | None] | None = None,
    ) -> None:
        self._call, self._rows, self._rules = call, rows, rules
        self._emit, self._told, self._known = emit, ended, known
        self._under_way: set[_Entry[R, T]] = set()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._early: dict[int, Done[R, T]] = {}  # ended before a row that stands before them
        self._next = 0
        self._not_taken = 0
        self._failures: list[FailedRow] = []
        self._room_made: asyncio.Future[None] | None = None
        self._is_fed = self._is_ending = False
        self._source_error: BaseException | None = None
        self._loop: asyncio.AbstractEventLoop
        self._context: contextvars.Context
        self._over: asyncio.Future[BaseException | None]

    async def drive(self) -> None:
        """Run all rows; whatever ends this early ends their tasks first.

        Raises:
            RowsError: As many rows failed as the rules allow.
            NbtoolError: The program is mistaken, or a budget is used up.
            Exception: What the source of the rows raised, when the rows before are done; or what a
            row raised, where the rules say so.
        """
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._context.run(is_row.set, True)
        self._over = self._loop.create_future()
        feeder = self._loop.create_task(self._fed(), name="nbtool rows")
        feeder.add_done_callback(lambda _: self._safely(self._feeder_ended, feeder))
        try:
            error = await self._over
        finally:
            await self._end(feeder)
        if error is not None:
            try:
                raise error
            finally:
                del error  # its traceback holds this frame

    async def _end(self, feeder: asyncio.Task[Any]) -> None:
        self._is_ending = True
        for entry in self._under_way:
            if entry.timer is not None:
                entry.timer.cancel()
        left = {task for task in (feeder, *self._tasks) if not task.done()}
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)

    def taken(self) -> None:
        """Take note that somebody has taken a result."""
        self._not_taken -= 1
        self._make_room()

    def _safely(self, callback: Callable[..., None], *args: Any) -> None:
        """Let what a callback raises end everything: asyncio would log it, and nothing end."""
        try:
            callback(*args)
        except Exception as error:  # noqa: BLE001 - `drive` raises it
            self._stop(error)

    # -- reading rows --------------------------------------------------------------------------

    async def _fed(self) -> Outcome[None]:
        return await guarded(self._feed())

    async def _feed(self) -> None:
        index = 0
        await self._room()
        async for row in _stepped(self._rows):
            found = self._known(index, row) if self._known is not None else None
            self._not_taken += 1
            entry: _Entry[R, T] = _Entry(index, row, self._loop.time())
            self._under_way.add(entry)
            if found is None:
                self._begin(entry)
            else:
                self._finish(entry, found.result, is_known=True)
                if index % _BREATH_ROWS == 0:
                    await asyncio.sleep(0)
            index += 1
            await self._room()

    async def _room(self) -> None:
        ahead = self._rules.ahead
        while len(self._tasks) >= self._rules.concurrency or (
            ahead is not None and self._not_taken >= ahead
        ):
            self._room_made = self._loop.create_future()
            await self._room_made

    def _make_room(self) -> None:
        waiter, self._room_made = self._room_made, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    def _feeder_ended(self, feeder: asyncio.Task[Outcome[None]]) -> None:
        error = asyncio.CancelledError() if feeder.cancelled() else feeder.result().error
        if error is not None and _ends_everything(error):
            self._stop(error)
            return
        self._source_error = error  # raised when the rows that it gave before are done
        self._is_fed = True
        self._look_for_end()

    # -- running rows --------------------------------------------------------------------------

    def _begin(self, entry: _Entry[R, T]) -> None:
        entry.attempts += 1
        task = self._loop.create_task(
            self._tried(entry.row, entry.attempts),
            name=f"nbtool row {entry.index}",
            context=self._context.copy(),
        )
        self._tasks.add(task)
        entry.tasks.add(task)
        task.add_done_callback(lambda _: self._safely(self._ended, entry, task))

    async def _tried(self, row: R, attempt: int) -> Outcome[T]:
        outcome = await guarded(self._call(row, attempt))
        if outcome.error is not None and _ends_everything(outcome.error):
            self._stop(outcome.error)
        return outcome

    def _ended(self, entry: _Entry[R, T], task: asyncio.Task[Outcome[T]]) -> None:
        self._tasks.discard(task)
        entry.tasks.discard(task)
        self._make_room()
        if self._is_ending or entry.is_over:
            return
        outcome = None if task.cancelled() else task.result()
        # Cancelled, and not by us: the program itself did it, and only this row is over.
        error = asyncio.CancelledError() if outcome is None else outcome.error
        if outcome is not None and error is None:
            self._finish(entry, outcome.value_or_raise())
        elif error is not None and not entry.tasks:  # else the other attempt may succeed
            error.__traceback__ = users_frames(error.__traceback__)
            self._finish(entry, FailedRow(entry.index, entry.row, error))

    def _finish(
        self, entry: _Entry[R, T], result: T | FailedRow, *, is_known: bool = False
    ) -> None:
        entry.is_over = True
        self._under_way.discard(entry)
        if entry.timer is not None:
            entry.timer.cancel()
        for slower in entry.tasks:
            slower.cancel()
        done = Done(entry.index, entry.row, result, is_known)
        self._told(done)
        self._pass_on(done)
        if isinstance(result, FailedRow):
            self._count(result)
        self._look_for_end()

    def _pass_on(self, done: Done[R, T]) -> None:
        if not self._rules.is_ordered:
            self._emit(done)
            return
        self._early[done.index] = done
        while self._next in self._early:
            self._emit(self._early.pop(self._next))
            self._next += 1

    def _count(self, failed: FailedRow) -> None:
        if self._rules.raises:
            failed.error.add_note(f"It was raised by row {failed.index}.")
            self._stop(failed.error)
        if self._rules.most_failures is None:
            return
        self._failures.append(failed)
        if len(self._failures) >= self._rules.most_failures:
            self._stop(_too_many(self._failures))

    def _stop(self, error: BaseException | None) -> None:
        self._is_ending = True
        if not self._over.done():
            self._over.set_result(error)
        # At once: what has not begun yet never begins, and so cannot block after a Ctrl-C.
        for task in self._tasks - {asyncio.current_task()}:
            task.cancel()

    def _look_for_end(self) -> None:
        if not self._is_fed or self._is_ending:
            return
        if not self._under_way:
            self._stop(self._source_error)
        elif self._rules.straggler_s > 0 and len(self._under_way) <= self._rules.straggler_limit:
            for entry in self._under_way:
                if entry.timer is None:
                    due_s = entry.began_s + self._rules.straggler_s
                    entry.timer = self._loop.call_at(due_s, self._begin_again, entry)

    def _begin_again(self, entry: _Entry[R, T]) -> None:
        if not (entry.is_over or self._is_ending):
            _log.info(
                "Row %d has run for %g s and is begun once more.",
                entry.index,
                self._rules.straggler_s,
            )
            self._begin(entry)


async def _stepped(rows: Iterable[R] | AsyncIterable[R]) -> AsyncIterator[R]:
    if isinstance(rows, AsyncIterable):
        async for row in rows:
            yield row
    else:
        for row in rows:
            yield row


def _ends_everything(error: BaseException) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(map(_ends_everything, cast("BaseExceptionGroup[Any]", error).exceptions))
    if isinstance(error, _STOPPING):
        return True
    return not isinstance(error, (Exception, asyncio.CancelledError))


def _too_many(failures: list[FailedRow]) -> RowsError:
    error = RowsError(
        "Execution cancelled due to errors or interruption. "
        f"{len(failures)} rows failed, the last of them: {failures[-1]!r}.",
        hint="`error.failures` has the rows; allow more with `max_errors=`.",
    )
    error.failures = tuple(failures)
    error.__cause__ = failures[-1].error
    return error
