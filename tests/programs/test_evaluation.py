"""`Evaluate` and `evaluate`: scores of programs and metrics of both kinds."""

from __future__ import annotations

import asyncio
import csv
import inspect
import io
import json
import threading

import pytest
from rich.console import Console

from nbtool.configuration import context
from nbtool.errors import (
    BudgetError,
    ConfigurationError,
    InputError,
    LMNotConfiguredError,
    RowsError,
    SavingError,
)
from nbtool.programs.evaluation import Evaluate, aevaluate, evaluate
from nbtool.programs.example import Example
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.programs.scores import EvaluationResult
from nbtool.runtime.inflight import running
from nbtool.testing.dummy import DummyLM
from nbtool.tracing.boundary import watching
from nbtool.tracing.callbacks import BaseCallback
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace

HOSTILE = "<img src=x onerror=alert(1)>[bold]\x1b[31m\ud800"


class Guess(Module):
    """Answer as the question says; fail at some."""

    def __init__(self, *failing):
        super().__init__()
        self.failing = failing

    async def aforward(self, question):
        await asyncio.sleep(0.001 * (3 - len(question) % 3))
        if question in self.failing:
            raise ValueError(f"no idea of {question}")
        return Prediction(answer=question.upper())


class SyncGuess(Module):
    def forward(self, question):
        return Prediction(answer=question.upper())


def exact(example, prediction, trace=None):
    return example.answer == prediction.answer


async def aexact(example, prediction):
    await asyncio.sleep(0)
    return example.answer == prediction.answer


class Judge(Module):
    """Score by asking."""

    def __init__(self):
        self.ask = Predict("answer -> verdict: bool")

    async def aforward(self, example, prediction):
        verdict = await self.ask.acall(answer=prediction.answer)
        return Prediction(score=float(verdict.verdict))


def devset(*pairs):
    return [Example(question=q, answer=a).with_inputs("question") for q, a in pairs]


THREE = devset(("a", "A"), ("b", "B"), ("c", "wrong"))


@pytest.mark.parametrize("metric", [exact, aexact], ids=["sync metric", "async metric"])
@pytest.mark.parametrize("program", [Guess, SyncGuess])
@pytest.mark.parametrize("form", ["sync", "async"])
async def test_score_is_the_average_in_percent(form, program, metric):
    evaluator = Evaluate(devset=THREE, metric=metric)
    result = evaluator(program()) if form == "sync" else await evaluator.acall(program())

    assert result.score == 66.67
    assert [(e.question, p.answer, s) for e, p, s in result.results] == [
        ("a", "A", True), ("b", "B", True), ("c", "C", False),
    ]  # fmt: skip
    assert repr(result) == "EvaluationResult(score=66.67, results=<list of 3 results>)"


@pytest.mark.parametrize("form", ["sync", "async"])
async def test_functions_do_the_same(form):
    result = (
        evaluate(Guess(), THREE, exact, num_threads=2)
        if form == "sync"
        else await aevaluate(Guess(), THREE, exact, num_threads=2)
    )

    assert (type(result), result.score) == (EvaluationResult, 66.67)


def test_evaluation_runs_where_no_loop_does():
    assert evaluate(Guess(), THREE, aexact).score == 66.67


def test_call_shapes_are_those_of_dspy():
    assert list(inspect.signature(Evaluate).parameters)[:10] == [
        "devset", "metric", "num_threads", "display_progress", "display_table", "max_errors",
        "provide_traceback", "failure_score", "save_as_csv", "save_as_json",
    ]  # fmt: skip
    assert list(inspect.signature(Evaluate.__call__).parameters)[1:] == [
        "program", "metric", "devset", "num_threads", "display_progress", "display_table",
        "callback_metadata", "save_as_csv", "save_as_json",
    ]  # fmt: skip
    acall = inspect.signature(Evaluate.acall).parameters
    assert list(acall) == list(inspect.signature(Evaluate.__call__).parameters)


async def test_arguments_of_a_call_win_over_those_of_the_evaluator():
    evaluator = Evaluate(devset=THREE, metric=exact)
    other = await evaluator.acall(Guess(), lambda *_: 1, devset(("x", "y")))

    assert (other.score, len(other.results)) == (100.0, 1)


async def test_metric_may_be_a_module_that_asks():
    lm = DummyLM({"A": {"verdict": True}, "B": {"verdict": False}, "C": {"verdict": True}})
    with context(lm=lm):
        result = await aevaluate(Guess(), THREE, Judge())

    assert result.score == 66.67
    assert result.table()[0]["Judge"].score == 1.0


async def test_synchronous_metric_does_not_run_on_the_loop():
    threads = set()

    def metric(example, prediction):
        threads.add(threading.current_thread())
        return 1

    await aevaluate(Guess(), THREE, metric)

    assert threading.current_thread() not in threads


async def test_as_many_examples_run_at_once_as_are_wanted():
    now = peak = 0

    async def program(question):
        nonlocal now, peak
        now += 1
        peak = max(peak, now)
        await asyncio.sleep(0.002)
        now -= 1
        return Prediction(answer="A")

    await aevaluate(program, devset(("a", "A")) * 30, exact, num_threads=4)

    assert peak == 4


# -- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize("score", [0.0, 0.5])
async def test_failed_example_gets_the_failure_score_and_an_error_record(score):
    result = await aevaluate(Guess("b"), THREE, exact, failure_score=score)
    (failed,) = result.failures

    assert (failed.index, failed.row, str(failed.error)) == (1, THREE[1], "no idea of b")
    assert result.results[1] == (THREE[1], Prediction(), score)
    assert result.score == round(100 * (1 + score) / 3, 2)
    assert repr(result).endswith("results=<list of 3 results>, failures=<1 of them>)")


async def test_metric_that_fails_is_a_failed_example():
    def metric(example, prediction):
        return 1 / (prediction.answer != "A")

    result = await aevaluate(Guess(), THREE, metric)

    assert [type(failed.error) for failed in result.failures] == [ZeroDivisionError]
    assert "division by zero" in result.table()[0]["error"]
    assert result.table()[1]["error"] == ""


async def test_so_many_failures_end_everything():
    with pytest.raises(RowsError):
        await aevaluate(Guess("a", "b"), THREE, exact, max_errors=2)
    with context(max_errors=1), pytest.raises(RowsError):
        await aevaluate(Guess("a"), THREE, exact)


async def test_mistake_in_the_program_is_raised():
    with pytest.raises(LMNotConfiguredError):
        await aevaluate(Predict("question -> answer"), THREE, exact)


async def test_used_up_budget_ends_everything():
    lm = DummyLM({"?": {"answer": "A"}})
    with context(lm=lm, max_tokens_total=100), pytest.raises(BudgetError):
        await aevaluate(
            Predict("question -> answer"), devset(("?", "A")) * 50, exact, num_threads=1
        )
    assert 0 < len(lm.history) < 10


@pytest.mark.parametrize("score", ["0.5", None, [1], Prediction(answer=1)])
async def test_score_that_is_no_number_is_refused(score):
    with pytest.raises(InputError, match="which is no number"):
        await aevaluate(Guess(), THREE, lambda *_: score)


WRONG = {
    "no examples": ([], exact, {}, "at least one example"),
    "no metric": (THREE, None, {}, "no metric"),
    "no example": ([{"question": "a"}], exact, {}, "type 'dict'"),
    "no inputs": ([Example(question="a")], exact, {}, "Inputs have not been set"),
    "further arguments": (THREE, exact, {"return_outputs": True}, "return_outputs"),
}


@pytest.mark.parametrize(("rows", "metric", "options", "said"), WRONG.values(), ids=WRONG)
async def test_what_makes_no_sense_is_refused(rows, metric, options, said):
    with pytest.raises(InputError, match=said) as caught:
        await aevaluate(Guess(), rows, metric, **options)
    assert isinstance(caught.value, ValueError)


async def test_number_of_threads_that_is_none_is_refused():
    with pytest.raises(ConfigurationError, match="num_threads=-1"):
        await aevaluate(Guess(), THREE, exact, num_threads=-1)


async def test_cancelled_evaluation_leaves_nothing():
    before = asyncio.all_tasks()

    async def wait(question):
        await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(aevaluate(wait, THREE, exact), 0.05)
    assert asyncio.all_tasks() == before
    assert running() == []


# -- tables --------------------------------------------------------------------------------------


async def test_table_has_fields_of_both_and_the_score():
    result = await aevaluate(Guess(), THREE[2:], exact)

    assert result.table() == [
        {"question": "c", "example_answer": "wrong", "pred_answer": "C", "exact": False}
    ]


async def test_table_takes_whatever_a_program_returns():
    result = await aevaluate(lambda question: question, THREE[:1], lambda *_: 1)

    assert result.table()[0]["prediction"] == "a"


async def test_page_shows_the_table_and_no_element_of_an_lm():
    async def hostile(question):
        return Prediction({"answer": HOSTILE, HOSTILE: 1})

    page = (await aevaluate(hostile, THREE, exact))._repr_html_()

    assert "<b>0.0 %</b> of 3 examples" in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert page.encode("utf-8")
    assert "\x1b" not in page


async def test_long_table_is_shown_in_part():
    many = devset(("a", "A")) * 200

    async def wide(question):
        return Prediction({f"field {n}": "long " * 1_000 for n in range(100)})

    page = (await aevaluate(wide, many, lambda *_: 1))._repr_html_()

    assert page.count("<tr>") == 51
    assert "more columns, … 150 more rows" in page
    assert "&lt;lambda&gt;" in page  # the column of scores is there
    assert len(page) < 500_000


@pytest.mark.parametrize(("wanted", "rows"), [(True, 3), (2, 2), (False, 0)])
async def test_table_is_printed_where_wanted(wanted, rows, capsys):
    await aevaluate(Guess(), THREE, exact, display_table=wanted)
    out = capsys.readouterr().out

    assert sum(letter in out for letter in ("│ a ", "│ b ", "│ c ")) == rows
    assert ("… 1 more rows" in out) == (wanted == 2)


async def test_words_of_an_lm_are_no_markup_in_a_terminal():
    async def hostile(question):
        return Prediction(answer=HOSTILE)

    screen = io.StringIO()
    result = await aevaluate(hostile, THREE, exact)
    Console(file=screen, width=200).print(result.as_text())

    assert "[bold]" in screen.getvalue()
    assert "\x1b[31m" not in screen.getvalue()


async def test_files_have_the_table(tmp_path):
    paths = {"save_as_csv": tmp_path / "scores.csv", "save_as_json": str(tmp_path / "scores.json")}
    await aevaluate(Guess("b"), THREE, exact, **paths)
    with (tmp_path / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    again = json.loads((tmp_path / "scores.json").read_text())

    # A failed example has no prediction, so its own answer needs no other name.
    assert list(rows[0]) == [
        "question", "example_answer", "pred_answer", "answer", "exact", "error",
    ]  # fmt: skip
    assert [row["exact"] for row in rows] == ["True", "0.0", "False"]
    assert [row["question"] for row in again] == ["a", "b", "c"]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "scores.csv", "scores.json",
    ]  # fmt: skip


async def test_files_take_whatever_an_lm_or_a_program_says(tmp_path):
    async def odd(question):
        return Prediction(answer=HOSTILE, other=object(), nothing=float("nan"))

    await aevaluate(
        odd, THREE, exact, save_as_csv=tmp_path / "a.csv", save_as_json=tmp_path / "a.json"
    )

    assert json.loads((tmp_path / "a.json").read_text())[0]["pred_answer"] == HOSTILE
    assert "onerror" in (tmp_path / "a.csv").read_text()


@pytest.mark.parametrize("name", ["save_as_csv", "save_as_json"])
async def test_file_that_cannot_be_written_is_refused_before_anything_runs(tmp_path, name):
    seen = []

    async def program(question):
        seen.append(question)

    with pytest.raises(SavingError, match="cannot be written"):
        await aevaluate(program, THREE, exact, **{name: tmp_path / "missing" / "scores"})
    assert seen == []


# -- around --------------------------------------------------------------------------------------


async def test_examples_are_steps_below_the_evaluation():
    recorder = Recorder()
    with watching(recorder), context(lm=DummyLM([{"verdict": True}] * 3)):
        await aevaluate(Guess(), THREE, Judge(), num_threads=1)
    trace = Trace(recorder.records)
    (root,) = trace.roots

    assert root.name == "Evaluate"
    assert root.output == {"score": 100.0, "examples": 3, "failed": 0}
    assert [span.name for span in trace.children(root)] == ["Guess", "Judge"] * 3


class Told(BaseCallback):
    def __init__(self):
        self.told = []

    def on_evaluate_start(self, call_id, instance, inputs):
        self.told.append((call_id, type(instance).__name__, inputs["callback_metadata"]))

    def on_evaluate_end(self, call_id, outputs, exception=None):
        self.told.append((call_id, outputs.score, exception))


@pytest.mark.parametrize("where", ["settings", "evaluator"])
async def test_callbacks_are_told(where):
    told = Told()
    evaluator = Evaluate(
        devset=THREE, metric=exact, callbacks=[told] if where == "evaluator" else []
    )
    with context(callbacks=[told] if where == "settings" else []):
        await evaluator.acall(Guess(), callback_metadata={"step": 3})
    (start, end) = told.told

    assert start[0] == end[0]
    assert start[1:] == ("Evaluate", {"step": 3})
    assert end[1:] == (66.67, None)


async def test_predictions_know_their_tokens():
    lm = DummyLM({"?": {"answer": "A"}})
    with context(lm=lm, track_usage=True):
        result = await aevaluate(Predict("question -> answer"), devset(("?", "A")) * 2, exact)

    tokens = [p.get_lm_usage()["dummy"]["total_tokens"] for _, p, _ in result.results]
    assert tokens[0] == tokens[1] > 0
