"""`Parallel`: programs over examples, many at a time, on the loop and not on threads."""

from __future__ import annotations

import functools
import logging
import traceback
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool.configuration import context, settings
from nbtool.errors import ConfigurationError, InputError
from nbtool.executors.failed import FailedRow
from nbtool.executors.flow import Done, Flow, Rules
from nbtool.executors.progress import Bar, is_row
from nbtool.lm.caching.flights import apart
from nbtool.programs.example import Example
from nbtool.runtime.call import Call, call_of, marked_as_coroutine_function
from nbtool.runtime.callables import awaited
from nbtool.runtime.door import run
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Sequence

Arguments: TypeAlias = "tuple[tuple[Any, ...], Mapping[str, Any]]"
Failures: TypeAlias = "tuple[list[Any], list[Any], list[BaseException]]"
_Job: TypeAlias = "tuple[Any, Any]"  # a program and its arguments

_SHOWN_CHARS = 500
_log = logging.getLogger("nbtool")


class Parallel:
    """Run pairs of a program and its input, many at a time.

    Programs may be asynchronous, synchronous or mixed; synchronous ones run in worker threads.
    Settings of the caller hold in all of them. A failed pair is logged, its result is None, and
    ``return_failed_examples`` gives it with its error; `nbtool.amap` gives error records instead.
    Mistakes in the program (`nbtool.LoopError`, `nbtool.ConfigurationError`,
    `nbtool.SignatureError`) and `nbtool.BudgetError` end everything at once.

    Args:
        num_threads: How many pairs run at once (>= 1); None: ``settings.num_threads``.
        max_errors: So many failed pairs end everything; None: ``settings.max_errors``.
        access_examples: Whether an `Example` gives its inputs by name, or is itself the input.
        return_failed_examples: Whether to return ``(results, failed_examples, exceptions)``.
        provide_traceback: Whether to log tracebacks; None: ``settings.provide_traceback``.
        disable_progress_bar: Whether to show no line of progress.
        timeout: After so many seconds one of the last pairs is begun once more; the first result
            counts, and the other attempt is cancelled. 0: never.
        straggler_limit: How many pairs are the last ones.

    Attributes:
        failed_examples: Inputs that failed in the latest run, in the order of the pairs.
        exceptions: What they raised, in the same order.

    Raises:
        ConfigurationError: `num_threads` is no number of pairs.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> qa = nbtool.Predict("question -> answer")
        >>> lm = DummyLM({"France": {"answer": "Paris"}, "Italy": {"answer": "Rome"}})
        >>> with nbtool.context(lm=lm):
        ...     both = nbtool.Parallel()([(qa, {"question": q}) for q in ("Italy?", "France?")])
        >>> [prediction.answer for prediction in both]
        ['Rome', 'Paris']

    Source:
        Names, call shapes and the sentence of the last error as DSPy's class of that name.
    """

    def __init__(
        self,
        num_threads: int | None = None,
        max_errors: int | None = None,
        access_examples: bool = True,
        return_failed_examples: bool = False,
        provide_traceback: bool | None = None,
        disable_progress_bar: bool = False,
        timeout: float = 120,
        straggler_limit: int = 3,
    ) -> None:
        self.num_threads = checked_concurrency(num_threads, "num_threads")
        self.max_errors: int = settings.max_errors if max_errors is None else max_errors
        self.access_examples = access_examples
        self.return_failed_examples = return_failed_examples
        self.provide_traceback = provide_traceback
        self.disable_progress_bar = disable_progress_bar
        self.timeout = timeout
        self.straggler_limit = straggler_limit
        self.failed_examples: list[Any] = []
        self.exceptions: list[BaseException] = []

    def __call__(
        self, exec_pairs: Iterable[tuple[Any, Any]], num_threads: int | None = None
    ) -> list[Any] | Failures:
        """Run the pairs and wait for them, from synchronous code; see `acall`."""
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        return run(self.acall(exec_pairs, num_threads))

    def forward(
        self, exec_pairs: Iterable[tuple[Any, Any]], num_threads: int | None = None
    ) -> list[Any] | Failures:
        """Run the pairs and wait for them, from synchronous code; see `acall`."""
        __tracebackhide__ = True  # as above
        return self(exec_pairs, num_threads)

    @marked_as_coroutine_function
    def acall(
        self,
        exec_pairs: Iterable[tuple[Any, Any]],
        num_threads: int | None = None,
        *,
        name: str = "Parallel",
    ) -> Call[list[Any] | Failures]:
        """Run the pairs.

        Args:
            exec_pairs: Programs with their inputs: an `Example`, a dict of named arguments, a
                tuple of positional ones; a list of pairs where the program is a `Parallel`.
            num_threads: How many run at once, in place of this object's number.
            name: What traces and the line of progress say.

        Returns:
            Results in the order of the pairs, None where one failed; or, where asked for, a tuple
            of them, the inputs that failed, and what they raised.

        Raises:
            InputError: An input is none of these. Nothing has run then.
            RowsError: `max_errors` pairs failed.
            NbtoolError: A program is mistaken, or a budget is used up.
        """
        pairs = list(exec_pairs)
        jobs = [(program, self._arguments(program, given)) for program, given in pairs]
        concurrency = checked_concurrency(num_threads or self.num_threads, "num_threads")

        async def work(**_described: int) -> list[Any] | Failures:
            results = await self._all_done(name, jobs, concurrency)
            failed = [result for result in results if isinstance(result, FailedRow)]
            self.failed_examples = [pairs[each.index][1] for each in failed]
            self.exceptions = [each.error for each in failed]
            found = [None if isinstance(each, FailedRow) else each for each in results]
            if not self.return_failed_examples:
                return found
            return found, self.failed_examples, self.exceptions

        return call_of("function", name, work, {"rows": len(pairs), "concurrency": concurrency})

    async def _all_done(
        self, name: str, jobs: Sequence[_Job], concurrency: int
    ) -> list[Any | FailedRow]:
        results: list[Any] = [None] * len(jobs)

        def emit(done: Done[_Job, Any]) -> None:
            results[done.index] = done.result

        log = logged(name, with_traceback=self.provide_traceback)
        rules = Rules(
            concurrency,
            most_failures=max(1, self.max_errors),
            straggler_s=self.timeout,
            straggler_limit=self.straggler_limit,
        )
        bar = Bar(name, len(jobs), is_wanted=not self.disable_progress_bar)

        def ended(done: Done[_Job, Any]) -> None:
            log(done)
            bar.advance(has_failed=isinstance(done.result, FailedRow))

        try:
            with context(**needed_threads(concurrency)):
                await Flow(_called, jobs, rules, emit=emit, ended=ended).drive()
        finally:
            bar.close()
        return results

    def _arguments(self, program: Any, given: Any) -> Arguments:
        if isinstance(given, list) and isinstance(program, Parallel):
            return (cast("list[Any]", given),), {}
        if isinstance(given, Example) and not self.access_examples:
            return (given,), {}
        return arguments_of(given)


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


async def _called(job: _Job, attempt: int) -> Any:
    program, (args, kwargs) = job
    return await called(functools.partial(awaited, program, *args, **kwargs), attempt)


async def called(program: Callable[[], Coroutine[Any, Any, Any]], attempt: int) -> Any:
    """Run a program for a row: a further attempt makes requests of its own."""
    is_row.set(True)  # it ends with the Context of the row
    if attempt > 1:
        apart.set(object())
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
    text = scrub_text(repr(value), secrets=secrets_in_use())  # whole: half a secret is not found
    return text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…"
