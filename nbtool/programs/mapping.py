"""`amap`: a program over rows as they come, however many there are."""

from __future__ import annotations

import asyncio
import contextvars
import functools
from collections import deque
from collections.abc import AsyncIterable, Iterable, Mapping, Sized
from typing import TYPE_CHECKING, Any, Literal, Self, TypeAlias, cast

from nbtool.configuration import context
from nbtool.errors import ConfigurationError, InputError
from nbtool.executors.failed import FailedRow
from nbtool.executors.finished import Finished
from nbtool.executors.flow import Done, Flow, Known, Rules
from nbtool.executors.progress import Bar
from nbtool.lm.caching.keys import key_of
from nbtool.programs.example import Example
from nbtool.programs.json_form import codec_of
from nbtool.programs.rows import (
    Arguments,
    arguments_of,
    called,
    checked_concurrency,
    needed_threads,
)
from nbtool.runtime import cells, interrupt
from nbtool.runtime.call import Call, call_of
from nbtool.runtime.callables import awaited
from nbtool.runtime.outcome import Outcome, guarded
from nbtool.runtime.threads import in_worker

if TYPE_CHECKING:
    import os
    from collections.abc import AsyncGenerator, AsyncIterator, Callable

    from nbtool.executors.finished import Codec

Rows: TypeAlias = "Iterable[Any] | AsyncIterable[Any]"

_AHEAD = 4  # times as many rows as run at once may have begun and wait to be taken


class _Work:
    """Be a run of a program over rows, and the place where its results wait to be taken.

    Args:
        program: A module, tool or function.
        rows: What it is called with.
        rules: How rows are run.
        journal: Results of earlier runs; None: no file.
        key: Gives the key of a row.
        is_shown: Whether to show a line of progress.
    """

    def __init__(
        self,
        program: Callable[..., Any],
        rows: Rows,
        rules: Rules,
        journal: Finished | None,
        key: Callable[[Any], str],
        *,
        is_shown: bool,
    ) -> None:
        self.name = name_of(program)
        self.concurrency = rules.concurrency
        self._program, self._journal, self._key = program, journal, key
        self._keys: dict[int, str] = {}  # of rows that are under way
        self._total = len(rows) if isinstance(rows, Sized) else None
        self._is_shown = is_shown
        self._ready: deque[Done[Any, Any]] = deque()
        self._arrived: asyncio.Future[None] | None = None
        known = None if journal is None else self._recalled
        self._flow: Flow[Any, Any] = Flow(
            self._called, rows, rules, emit=self._put, ended=self._ended, known=known
        )
        self._bar: Bar | None = None
        self._was_interrupted = False

    async def drive(self, **_described: int) -> None:
        """Run all rows."""
        self._bar = Bar(self.name, self._total, is_wanted=self._is_shown)
        try:
            if self._journal is not None:
                await in_worker(self._journal.open)
            with context(**needed_threads(self.concurrency)):
                await self._flow.drive()
        finally:
            self._bar.close()
            if self._journal is not None:
                self._journal.close()

    async def _called(self, row: Any, attempt: int) -> Any:
        args, kwargs = _arguments(row)
        return await called(functools.partial(awaited, self._program, *args, **kwargs), attempt)

    def _recalled(self, index: int, row: Any) -> Known[Any] | None:
        if self._journal is None:
            return None
        key = self._keys[index] = self._key(row)
        return self._journal.recall(key)

    def _ended(self, done: Done[Any, Any]) -> None:
        key = self._keys.pop(done.index, None)
        has_failed = isinstance(done.result, FailedRow)
        if self._journal is not None and key is not None and not (has_failed or done.is_known):
            self._journal.keep(key, done.result)
        if self._bar is not None:
            self._bar.advance(has_failed=has_failed)

    # -- handing over --------------------------------------------------------------------------

    def _put(self, done: Done[Any, Any]) -> None:
        self._ready.append(done)
        self.wake()

    def wake(self) -> None:
        """Let whoever waits in `arrived` look again."""
        waiter, self._arrived = self._arrived, None
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def arrived(self) -> None:
        """Wait until there is a result, or the work has ended."""
        loop = asyncio.get_running_loop()
        waiter = self._arrived = loop.create_future()
        wait = interrupt.Wait(loop, waiter.cancel)
        try:
            with wait:
                await waiter
        except asyncio.CancelledError:
            self._was_interrupted = wait.hits > 0
            if self._was_interrupted:
                raise self.cancelled() from None
            raise  # as it is: some libraries know their own by its text
        self._was_interrupted = wait.hits > 0  # it may have struck in a row

    def cancelled(self) -> asyncio.CancelledError:
        """Return what to raise where the work was cancelled."""
        by_user = self._was_interrupted
        kind = interrupt.InterruptedWait if by_user else asyncio.CancelledError
        return kind(f"amap({self.name}) was cancelled.")

    def take(self) -> Done[Any, Any] | None:
        """Return the next result, which makes room for a row; None: there is none now."""
        if not self._ready:
            return None
        self._flow.taken()
        return self._ready.popleft()


class Mapped:
    """Give the results of rows; `amap` makes it.

    It is an asynchronous iterator of results. Ending early, by ``break`` or by cancellation,
    cancels the rows that run; ``async with`` or ``aclose()`` does so for certain and at once.

    Args:
        work: What is run.
    """

    def __init__(self, work: _Work) -> None:
        self._context = contextvars.copy_context()
        self._name = work.name
        self._pairs = _driven(work, self._context)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        """Return the next result, or error record."""
        return (await anext(self._pairs))[1]

    def with_rows(self) -> AsyncIterator[tuple[Any, Any]]:
        """Give each row together with its result: ``async for row, result in …``."""
        return self._pairs

    async def aclose(self) -> None:
        """Cancel what runs and wait until it has ended."""
        await self._pairs.aclose()

    async def __aenter__(self) -> Self:
        """Do nothing; the end of the block closes."""
        return self

    async def __aexit__(self, *raised: object) -> None:
        """Do as `aclose`."""
        await self.aclose()

    def __repr__(self) -> str:
        return f"<amap({self._name}): `async for result in …` gives its results>"


async def _driven(
    work: _Work, caller: contextvars.Context
) -> AsyncGenerator[tuple[Any, Any], None]:
    """Run the work in a task of its own, in the Context of whoever called `amap`."""
    described = {"concurrency": work.concurrency}
    call = caller.run(call_of, "function", f"amap({work.name})", work.drive, described)
    here = caller.copy()
    cells.keep_output(here)
    driver = asyncio.get_running_loop().create_task(guarded(call), name="nbtool amap", context=here)
    driver.add_done_callback(lambda _: work.wake())
    try:
        while True:
            done = work.take()
            if done is not None:
                yield done.row, done.result
            elif driver.done():
                break
            else:
                await work.arrived()
        if driver.cancelled():
            raise work.cancelled()
        _raise_error_of(driver.result())
    finally:
        if not driver.done():
            driver.cancel()
            await asyncio.wait([driver])
        _forget(call)


def _raise_error_of(outcome: Outcome[Any]) -> None:
    __tracebackhide__ = True  # IPython and pytest leave such frames out
    error = outcome.error
    if error is not None:
        try:
            raise interrupt.as_task_may_raise(error)
        finally:
            del error  # its traceback holds this frame


def _forget(call: Call[Any]) -> None:
    if not call.has_started:  # it was cancelled before its first step
        call.cancel()


def amap(
    program: Callable[..., Any],
    rows: Rows,
    *,
    concurrency: int | None = None,
    on_error: Literal["record", "raise"] = "record",
    ordered: bool = True,
    max_errors: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    key: Callable[[Any], str] | None = None,
    codec: Codec | None = None,
    progress: bool = False,
) -> Mapped:
    """Run a program over rows, many at a time, and give the results as they come.

    Rows are read one by one, when there is room: a source of a million takes no more memory than
    one of a hundred. Settings are those of the place where `amap` is called. Mistakes in the
    program, and `nbtool.BudgetError`, end everything at once and are raised.

    Args:
        program: A module, tool or function, asynchronous or not.
        rows: Any iterable, or an asynchronous one. A dict or `Example` gives named arguments, a
            tuple positional ones, anything else is the one argument.
        concurrency: How many rows run at once (>= 1); None: ``settings.num_threads``.
        on_error: ``"record"`` gives a `FailedRow` in the place of the result; ``"raise"`` ends
            everything with the error of the first row that fails.
        ordered: Whether results come in the order of the rows, or as rows end; see
            `Mapped.with_rows`. In order, up to four times `concurrency` results wait for a row
            before them.
        max_errors: So many failed rows end everything; None: no limit.
        resume: A file (JSON lines) that keeps results. Rows that it has are not run again; those
            that failed are. Identical rows are told apart by their number only.
        key: Gives the key by which `resume` knows a row; by default its arguments are the key.
        codec: Turns a result into JSON values for `resume`, and back.
        progress: Whether to show a line of progress, in a notebook or a terminal.

    Returns:
        An asynchronous iterator of results; it starts when the first one is asked for.

    Raises:
        ConfigurationError: `concurrency` or `on_error` has no such value.
        InputError: `rows` is a single row, or a row has no key.
        RowsError: `max_errors` rows failed. It is raised by the iterator, as are the next two.
        StateError: `resume` is not a file of these rows.
        SavingError: A result cannot be kept in the file.

    Example:
        >>> import asyncio, nbtool
        >>> async def double(x):
        ...     return 2 * x
        >>> async def main():
        ...     return [result async for result in nbtool.amap(double, range(4))]
        >>> asyncio.run(main())
        [0, 2, 4, 6]
    """
    _check(rows, on_error)
    at_once = checked_concurrency(concurrency, "concurrency")
    rules = Rules(
        at_once,
        is_ordered=ordered,
        ahead=_AHEAD * at_once,
        raises=on_error == "raise",
        most_failures=None if max_errors is None else max(1, max_errors),
    )
    journal = None
    if resume is not None:
        journal = Finished(resume, name_of(program), codec or codec_of(program))
    work = _Work(program, rows, rules, journal, key or _key, is_shown=progress)
    return Mapped(work)


def _check(rows: Any, on_error: str) -> None:
    if on_error not in {"record", "raise"}:
        raise ConfigurationError(
            f"on_error={on_error!r} is neither 'record' nor 'raise'.",
            hint="Leave it out to get a `FailedRow` for each row that fails.",
        )
    is_one = isinstance(rows, str | bytes | Mapping | Example)
    if is_one or not isinstance(rows, Iterable | AsyncIterable):
        raise InputError(
            f"rows must be many rows, and is of type {type(cast('object', rows)).__qualname__!r}.",
            hint="Give a list of rows, or any iterable, asynchronous or not.",
        )


def name_of(program: Any) -> str:
    """Return what a program is called in traces and files."""
    own = getattr(program, "span_name", None) or getattr(program, "__name__", None)
    return own if isinstance(own, str) else type(program).__name__


def _arguments(row: Any) -> Arguments:
    is_call = isinstance(row, Example | Mapping | tuple)
    return arguments_of(cast("Any", row)) if is_call else ((row,), {})


def _key(row: Any) -> str:
    args, kwargs = _arguments(row)
    try:
        return key_of({"args": args, "kwargs": dict(kwargs)}, ())
    except Exception as error:
        raise InputError(
            f"A row has no key by which `resume` could know it: {error}",
            hint="Give a function that returns a text of its own for each row: `key=`.",
        ) from error
