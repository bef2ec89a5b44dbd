"""`evaluate`, `Evaluate`: how well a program does on examples, by a metric."""

from __future__ import annotations

import functools
import logging
from typing import TYPE_CHECKING, Any

from nbtool.errors import InputError
from nbtool.executors.failed import FailedRow
from nbtool.programs.example import Example
from nbtool.programs.mapping import name_of
from nbtool.programs.prediction import Prediction
from nbtool.programs.rows import Options, all_done, arguments_of, called, checked_concurrency
from nbtool.programs.scores import EvaluationResult, check_writable
from nbtool.runtime.call import Call, call_of
from nbtool.runtime.callables import awaited, waiting, waiting_method
from nbtool.runtime.driven import marked_as_coroutine_function

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Sequence

    from nbtool.executors.flow import Done

    Metric = Callable[..., Any]
    Path = str | os.PathLike[str]

_log = logging.getLogger("nbtool")


class Evaluate:
    """Score a program on examples.

    It is called as ``evaluator(program)`` or ``await evaluator.acall(program)``. Program and metric
    may each be asynchronous or not; synchronous ones run in worker threads. Mistakes in the
    program, and `nbtool.BudgetError`, end everything at once and are raised.

    Args:
        devset: Examples that know their inputs, at least one when it is called.
        metric: Called with an example and what the program made of it; returns a number, a bool,
            or a prediction that has a ``score``.
        num_threads: How many examples run at once (>= 1); None: ``settings.num_threads``.
        display_progress: Whether to show a line of progress.
        display_table: Whether to print the table, or how many rows of it.
        max_errors: So many failed examples end everything; None: ``settings.max_errors``.
        provide_traceback: Whether to log tracebacks; None: ``settings.provide_traceback``.
        failure_score: Score of an example whose program or metric failed.
        save_as_csv: Where to write the table as CSV.
        save_as_json: Where to write it as JSON.
        callbacks: Watchers, told by ``on_evaluate_start`` and ``on_evaluate_end``.
        **unknown: None are taken.

    Raises:
        InputError: There are further arguments.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> lm = DummyLM({"France": {"answer": "Paris"}, "Italy": {"answer": "Milan"}})
        >>> devset = [
        ...     nbtool.Example(question="France?", answer="Paris").with_inputs("question"),
        ...     nbtool.Example(question="Italy?", answer="Rome").with_inputs("question"),
        ... ]
        >>> def exact(example, prediction):
        ...     return example.answer == prediction.answer
        >>> with nbtool.context(lm=lm):
        ...     nbtool.Evaluate(devset=devset, metric=exact)(nbtool.Predict("question -> answer"))
        EvaluationResult(score=50.0, results=<list of 2 results>)

    Source:
        Names, call shapes and the rounding of the score as DSPy's class of that name.
    """

    callback_kind = "evaluate"

    def __init__(
        self,
        *,
        devset: Iterable[Example],
        metric: Metric | None = None,
        num_threads: int | None = None,
        display_progress: bool = False,
        display_table: bool | int = False,
        max_errors: int | None = None,
        provide_traceback: bool | None = None,
        failure_score: float = 0.0,
        save_as_csv: Path | None = None,
        save_as_json: Path | None = None,
        callbacks: Sequence[Any] = (),
        **unknown: Any,
    ) -> None:
        if unknown:
            raise InputError(
                f"Evaluate has no arguments {sorted(unknown)}.",
                hint="Predictions are always in `result.results`: `return_outputs` is gone.",
            )
        self.devset: list[Example] = list(devset or ())
        self.metric = metric
        self.num_threads = num_threads
        self.display_progress = display_progress
        self.display_table = display_table
        self.max_errors = max_errors
        self.provide_traceback = provide_traceback
        self.failure_score = failure_score
        self.save_as_csv = save_as_csv
        self.save_as_json = save_as_json
        self.callbacks: list[Any] = list(callbacks)

    @marked_as_coroutine_function
    def acall(
        self,
        program: Callable[..., Any],
        metric: Metric | None = None,
        devset: Iterable[Example] | None = None,
        num_threads: int | None = None,
        display_progress: bool | None = None,
        display_table: bool | int | None = None,
        callback_metadata: dict[str, Any] | None = None,
        save_as_csv: Path | None = None,
        save_as_json: Path | None = None,
    ) -> Call[EvaluationResult]:
        """Score a program.

        Args:
            program: A module, tool or function; called with the inputs of each example by name.
            metric: In place of this object's.
            devset: In place of this object's.
            num_threads: In place of this object's.
            display_progress: In place of this object's.
            display_table: In place of this object's.
            callback_metadata: Passed on to callbacks.
            save_as_csv: In place of this object's.
            save_as_json: In place of this object's.

        Returns:
            The score in percent, and each example with its prediction and score.

        Raises:
            InputError: There is no example or no metric, an example does not say what its inputs
                are, or the metric returns what is no number.
            RowsError: ``max_errors`` examples failed.
            SavingError: A file cannot be written. Nothing has run then.
        """
        given = {name: value for name, value in locals().items() if name != "self"}
        return call_of("function", "Evaluate", self._evaluated, given, subject=self)

    __call__ = waiting_method(
        acall, "__call__", "Score a program and wait, from synchronous code; see `acall`."
    )

    async def _evaluated(self, **given: Any) -> EvaluationResult:
        del given["callback_metadata"]
        program = given.pop("program")
        chosen = {n: getattr(self, n) if value is None else value for n, value in given.items()}
        rows = _checked(list(chosen["devset"]), chosen["metric"])
        files = chosen["save_as_csv"], chosen["save_as_json"]
        for path in files:
            if path is not None:
                check_writable(path)
        options = Options(
            checked_concurrency(chosen["num_threads"], "num_threads"),
            self.max_errors,
            self.provide_traceback,
            chosen["display_progress"],
        )
        found = await _scored(program, chosen["metric"], rows, options)
        result = self._result(rows, found, name_of(chosen["metric"]))
        _show(result, chosen["display_table"])
        if files[0] is not None:
            result.save_csv(files[0])
        if files[1] is not None:
            result.save_json(files[1])
        return result

    def _result(
        self, rows: Sequence[Example], found: Sequence[Any], metric_name: str
    ) -> EvaluationResult:
        failures = [each for each in found if isinstance(each, FailedRow)]
        lost = Prediction(), self.failure_score
        pairs = [lost if isinstance(each, FailedRow) else each for each in found]
        total = sum(float(score) for _, score in pairs)
        percent = round(100 * total / len(rows), 2)
        _log.info("Average Metric: %g / %d (%g%%)", total, len(rows), round(percent, 1))
        scored = [(row, p, score) for row, (p, score) in zip(rows, pairs, strict=True)]
        return EvaluationResult(percent, scored, failures, metric_name)


def _checked(rows: list[Example], metric: Metric | None) -> list[Example]:
    if not rows:
        raise InputError(
            "devset must contain at least one example, got an empty devset.",
            hint="Write `Evaluate(devset=[Example(...).with_inputs(...)])`.",
        )
    if metric is None:
        raise InputError(
            "There is no metric to score by.",
            hint="Write `metric=`, a function of the example and its prediction.",
        )
    for row in rows:
        if not isinstance(row, Example):  # pyright: ignore[reportUnnecessaryIsInstance] - users' own
            raise InputError(
                f"The devset has an example of type {type(row).__qualname__!r}.",
                hint="Write `Example(...).with_inputs(...)`, which also holds what is expected.",
            )
        arguments_of(row)
    return rows


async def _scored(
    program: Callable[..., Any], metric: Metric, rows: Sequence[Example], options: Options
) -> list[tuple[Any, Any] | FailedRow]:
    """Return a prediction with its score for each example."""
    name = name_of(program)
    total, ended = 0.0, 0

    async def score(example: Example) -> tuple[Any, Any]:
        args, kwargs = arguments_of(example)
        prediction = await awaited(program, *args, **kwargs)
        scored = await awaited(metric, example, prediction)
        _check_number(scored, metric)
        return prediction, scored

    async def row(example: Example, attempt: int) -> tuple[Any, Any]:
        return await called(functools.partial(score, example), attempt)

    def note(done: Done[Example, tuple[Any, Any]]) -> str:
        nonlocal total, ended
        if not isinstance(done.result, FailedRow):
            total, ended = total + float(done.result[1]), ended + 1
        percent = 100 * total / ended if ended else 0.0
        return f"Average Metric: {total:.2f} / {ended} ({percent:.1f}%)"

    return await all_done(f"Evaluate({name})", row, rows, options, note=note)


def _check_number(score: Any, metric: Metric) -> None:
    try:
        if isinstance(score, str | bytes):  # which Python would read as a number where it can
            raise TypeError("a text")  # noqa: TRY301 - told as any other reason
        float(score)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"The metric {name_of(metric)!r} returned {score!r:.200}, which is no number.",
            hint="Return a number, True or False, or a Prediction with a `score`.",
        ) from error


def _show(result: EvaluationResult, display_table: bool | int) -> None:
    if display_table is False or display_table == 0:
        return
    from rich.console import Console

    most_rows = None if display_table is True else display_table
    Console().print(result.as_text(most_rows))


@marked_as_coroutine_function
def aevaluate(
    program: Callable[..., Any],
    devset: Iterable[Example],
    metric: Metric,
    **options: Any,
) -> Call[EvaluationResult]:
    """Score a program on examples; `evaluate` does it from synchronous code.

    Args:
        program: A module, tool or function, asynchronous or not.
        devset: Examples that know their inputs, at least one.
        metric: Returns a number for an example and what the program made of it; asynchronous or
            not.
        **options: As for `Evaluate`.

    Returns:
        The score in percent, and each example with its prediction and score.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> devset = [nbtool.Example(question="2+2?", answer="4").with_inputs("question")]
        >>> async def exact(example, prediction):
        ...     return example.answer == prediction.answer
        >>> with nbtool.context(lm=DummyLM([{"answer": "4"}])):
        ...     result = nbtool.evaluate(nbtool.Predict("question -> answer"), devset, exact)
        >>> result.score, result.table()[0]["exact"]
        (100.0, True)
    """
    return Evaluate(devset=devset, metric=metric, **options).acall(program)


evaluate = waiting(aevaluate, "evaluate")
