"""`Parallel`: programs over examples, many at a time, on the loop and not on threads."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool.configuration import settings
from nbtool.executors.failed import FailedRow
from nbtool.programs.example import Example
from nbtool.programs.rows import (
    Arguments,
    Options,
    all_done,
    arguments_of,
    called,
    checked_concurrency,
)
from nbtool.runtime.call import Call, call_of
from nbtool.runtime.callables import awaited, waiting_method
from nbtool.runtime.driven import marked_as_coroutine_function

if TYPE_CHECKING:
    from collections.abc import Iterable

Failures: TypeAlias = "tuple[list[Any], list[Any], list[BaseException]]"
_Job: TypeAlias = "tuple[Any, Any]"  # a program and its arguments


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
            counts, and the other attempt is cancelled. 0 or None: never.
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
        timeout: float | None = 120,
        straggler_limit: int | None = 3,
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
        options = Options(
            checked_concurrency(num_threads or self.num_threads, "num_threads"),
            self.max_errors,
            self.provide_traceback,
            not self.disable_progress_bar,
            self.timeout or 0.0,
            self.straggler_limit or 0,
        )
        described = {"rows": len(pairs), "concurrency": options.concurrency}

        async def work(**_described: int) -> list[Any] | Failures:
            results = await all_done(name, _called, jobs, options)
            failed = [result for result in results if isinstance(result, FailedRow)]
            self.failed_examples = [pairs[each.index][1] for each in failed]
            self.exceptions = [each.error for each in failed]
            found = [None if isinstance(each, FailedRow) else each for each in results]
            if not self.return_failed_examples:
                return found
            return found, self.failed_examples, self.exceptions

        return call_of("function", name, work, described)

    __call__ = waiting_method(
        acall, "__call__", "Run the pairs and wait for them, from synchronous code; see `acall`."
    )
    forward = __call__

    def _arguments(self, program: Any, given: Any) -> Arguments:
        if isinstance(given, list) and isinstance(program, Parallel):
            return (cast("list[Any]", given),), {}
        if isinstance(given, Example) and not self.access_examples:
            return (given,), {}
        return arguments_of(given)


async def _called(job: _Job, attempt: int) -> Any:
    program, (args, kwargs) = job
    return await called(functools.partial(awaited, program, *args, **kwargs), attempt)
