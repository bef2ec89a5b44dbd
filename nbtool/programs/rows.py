"""What all runs over many rows share: arguments, threads, logs, and waiting for them all."""

from __future__ import annotations

import dataclasses
import logging
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from nbtool.configuration import context, settings
from nbtool.errors import ConfigurationError, InputError
from nbtool.executors.failed import FailedRow, repr_of
from nbtool.executors.flow import Done, Flow, Rules
from nbtool.executors.progress import Bar
from nbtool.lm.caching.flights import apart
from nbtool.programs.example import Example
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Sequence

R = TypeVar("R")
T = TypeVar("T")
Arguments: TypeAlias = "tuple[tuple[Any, ...], Mapping[str, Any]]"

_SHOWN_CHARS = 500
_log = logging.getLogger("nbtool")


@dataclasses.dataclass(frozen=True, slots=True)
class Options:
    """Say how rows are run that are all waited for.

    Attributes:
        concurrency: How many run at once (>= 1).
        max_errors: So many failed rows end everything; None: ``settings.max_errors``.
        provide_traceback: Whether to log tracebacks; None: ``settings.provide_traceback``.
        shows_progress: Whether to show a line of progress.
        timeout_s: After so many seconds one of the last rows is begun once more; 0: never.
        straggler_limit: How many rows are the last ones.
    """

    concurrency: int
    max_errors: int | None = None
    provide_traceback: bool | None = None
    shows_progress: bool = False
    timeout_s: float = 120.0
    straggler_limit: int = 3


async def all_done(
    name: str,
    call: Callable[[R, int], Awaitable[T]],
    rows: Sequence[R],
    options: Options,
    *,
    note: Callable[[Done[R, T]], str] = lambda _: "",
) -> list[T | FailedRow]:
    """Run all rows and wait for them.

    Args:
        name: What logs and the line of progress say.
        call: Does the work of a row; called with the row and the number of the attempt.
        rows: The rows.
        options: How they are run.
        note: Says, when a row has ended, what stands behind the count.

    Returns:
        Results in the order of the rows, error records for those that failed.
    """
    results: list[Any] = [None] * len(rows)
    max_errors = settings.max_errors if options.max_errors is None else options.max_errors
    rules = Rules(
        options.concurrency,
        most_failures=max(1, max_errors),
        straggler_s=options.timeout_s,
        straggler_limit=options.straggler_limit,
    )
    log = logged(name, with_traceback=options.provide_traceback)
    bar = Bar(name, len(rows), is_wanted=options.shows_progress)

    def emit(done: Done[R, T]) -> None:
        results[done.index] = done.result

    def ended(done: Done[R, T]) -> None:
        log(done)
        bar.advance(has_failed=isinstance(done.result, FailedRow), note=note(done))

    try:
        with context(**needed_threads(options.concurrency)):
            await Flow(call, rows, rules, emit=emit, ended=ended).drive()
    finally:
        bar.close()
    return results


def arguments_of(given: Any) -> Arguments:
    """Return the arguments of a call that an input stands for.

    Args:
        given: An `Example`, whose inputs are named arguments; a mapping of named ones; a tuple of
            positional ones.

    Raises:
        InputError: It is none of these, or an example that does not say what its inputs are.
    """
    if isinstance(given, Example):
        try:
            inputs = given.inputs()
        except ValueError as error:
            raise InputError(
                f"Inputs have not been set for the example {_shown(given)}.",
                hint="Write `example.with_inputs('question', ...)`.",
            ) from error
        return (), {name: inputs[name] for name in inputs}
    if isinstance(given, Mapping):
        return (), cast("Mapping[str, Any]", given)
    if isinstance(given, tuple):
        return cast("tuple[Any, ...]", given), {}
    raise InputError(
        f"Invalid example type: {type(cast('object', given))}, only supported types are Example, "
        f"dict, list and tuple; it is {_shown(cast('object', given))}.",
        hint="Give a dict of named arguments, or a tuple of positional ones.",
    )


async def called(program: Callable[[], Coroutine[Any, Any, Any]], attempt: int) -> Any:
    """Run a program for a row: a further attempt makes requests of its own."""
    if attempt > 1:
        apart.set(object())  # it ends with the Context of the attempt
    return await program()


def checked_concurrency(given: int | None, name: str) -> int:
    """Return how many rows run at once.

    Args:
        given: What the user said; None or 0: ``settings.num_threads``.
        name: What the user calls it.

    Raises:
        ConfigurationError: It is no number, or less than 1.
    """
    number: Any = given or settings.num_threads
    if isinstance(number, int) and not isinstance(number, bool) and number >= 1:
        return number
    raise ConfigurationError(
        f"{name}={number!r} is no number of rows that run at once: it must be 1 or more.",
        hint=f"Write `{name}=8`, or leave it out.",
    )


def needed_threads(concurrency: int) -> dict[str, int]:
    """Return the settings with which as many synchronous programs can run at once."""
    enough = concurrency <= int(settings.async_max_workers)
    return {} if enough else {"async_max_workers": concurrency}


def logged(name: str, *, with_traceback: bool | None) -> Callable[[Done[Any, Any]], None]:
    """Return what logs each failed row.

    Args:
        name: What runs over the rows.
        with_traceback: Whether to log tracebacks; None: ``settings.provide_traceback``.
    """
    is_full = settings.provide_traceback if with_traceback is None else with_traceback

    def log(done: Done[Any, Any]) -> None:
        if not isinstance(done.result, FailedRow):
            return
        error = done.result.error
        if is_full:
            text = scrub_text("".join(traceback.format_exception(error)), secrets=secrets_in_use())
        else:
            text = f"{_shown(error)}. Set `provide_traceback=True` for traceback."
        _log.error("%s: row %d failed: %s", name, done.index, text)

    return log


def _shown(value: object) -> str:
    text = scrub_text(repr_of(value), secrets=secrets_in_use())  # whole: half a secret is not found
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
