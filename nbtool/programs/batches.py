"""`Batched`: a program over many examples, as a method of the program."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.programs.example import Example
from nbtool.programs.parallel import Parallel
from nbtool.programs.rows import arguments_of
from nbtool.runtime.callables import waiting_method
from nbtool.runtime.driven import marked_as_coroutine_function

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbtool.programs.parallel import Failures
    from nbtool.runtime.call import Call


class Batched:
    """Run over many examples; modules are this too."""

    @marked_as_coroutine_function
    def abatch(
        self,
        examples: Iterable[Any],
        num_threads: int | None = None,
        max_errors: int | None = None,
        return_failed_examples: bool = False,
        provide_traceback: bool | None = None,
        disable_progress_bar: bool = False,
        timeout: float | None = 120,
        straggler_limit: int | None = 3,
    ) -> Call[list[Any] | Failures]:
        """Run this program over examples, many at a time.

        Args:
            examples: Each an `Example` that knows its inputs, a dict of them, or a tuple of
                positional arguments.
            num_threads: How many run at once (>= 1); None: ``settings.num_threads``.
            max_errors: So many failed examples end everything; None: ``settings.max_errors``.
            return_failed_examples: Whether to return ``(results, failed_examples, exceptions)``.
            provide_traceback: Whether to log tracebacks; None: ``settings.provide_traceback``.
            disable_progress_bar: Whether to show no line of progress.
            timeout: After so many seconds one of the last examples is begun once more, and the
                first result counts. 0 or None: never.
            straggler_limit: How many examples are the last ones.

        Returns:
            Results in the order of the examples, None where one failed (which is logged); or,
            where asked for, a tuple of them, the inputs that failed, and what they raised.

        Raises:
            InputError: An example is none of these. Nothing has run then.
            RowsError: `max_errors` examples failed.
            NbtoolError: The program is mistaken, or a budget is used up.

        Source:
            Names and call shape as DSPy's method ``Module.batch``.
        """
        parallel = Parallel(
            num_threads,
            max_errors,
            return_failed_examples=return_failed_examples,
            provide_traceback=provide_traceback,
            disable_progress_bar=disable_progress_bar,
            timeout=timeout,
            straggler_limit=straggler_limit,
        )
        pairs = [(self, _inputs(example)) for example in examples]
        return parallel.acall(pairs, name=f"{type(self).__name__}.batch")

    batch = waiting_method(
        abatch,
        "batch",
        """Run this program over examples and wait, from synchronous code.

        See `abatch`. In a notebook the running loop goes on meanwhile.
        """,
    )


def _inputs(example: Any) -> Any:
    arguments_of(example)  # says what is wrong with it
    return example.inputs() if isinstance(example, Example) else example
