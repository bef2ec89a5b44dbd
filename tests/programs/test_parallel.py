"""`Parallel` and `Module.batch`: DSPy's contracts, on one loop."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time

import pytest

from nbtool.configuration import configure, context, settings
from nbtool.errors import (
    BudgetError,
    ConfigurationError,
    InputError,
    LMNotConfiguredError,
    RowsError,
)
from nbtool.lm.client import LM
from nbtool.programs.example import Example
from nbtool.programs.module import Module
from nbtool.programs.parallel import Parallel
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.programs.usage import track_usage
from nbtool.runtime.inflight import running
from nbtool.testing.answers import Answer, Hang
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer
from nbtool.tools.tool import Tool
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace

BATCH = pytest.mark.api("Module.batch")
PARALLEL = pytest.mark.api("Parallel")
pytestmark = [BATCH, PARALLEL]


class Async(Module):
    async def aforward(self, x):
        await asyncio.sleep(0.01 * (3 - x % 3))
        return x * 2


class Sync(Module):
    def forward(self, x):
        time.sleep(0.01 * (3 - x % 3))
        return x * 2


class Both(Module):
    def forward(self, x):
        raise AssertionError("batches run on the loop")

    async def aforward(self, x):
        return x * 2


class Fails(Module):
    """Fail at the numbers that are given."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = numbers
        self.seen = []

    async def aforward(self, x):
        self.seen.append(x)
        await asyncio.sleep(0)
        if x in self.numbers:
            raise ValueError(f"not {x}")
        return x


class Peak(Module):
    """Count how many rows run at once."""

    def __init__(self, s=0.002):
        super().__init__()
        self.s, self.now, self.peak = s, 0, 0

    async def aforward(self, x):
        self.now += 1
        self.peak = max(self.peak, self.now)
        await asyncio.sleep(self.s)
        self.now -= 1
        return x


def rows(number):
    return [{"x": x} for x in range(number)]


async def ran(form, program, given, **options):
    """Run a batch in one of its four forms."""
    options = {"disable_progress_bar": True, **options}
    if form == "batch":
        return program.batch(given, **options)
    if form == "abatch":
        return await program.abatch(given, **options)
    pairs = [(program, row) for row in given]
    if form == "Parallel":
        return Parallel(**options)(pairs)
    return await Parallel(**options).acall(pairs)


@pytest.fixture(params=["batch", "abatch", "Parallel", "Parallel.acall"])
def form(request):
    return request.param


@pytest.mark.parametrize("program", [Async, Sync, Both])
async def test_results_come_in_the_order_of_the_rows(form, program):
    assert await ran(form, program(), rows(10)) == [2 * x for x in range(10)]


@pytest.mark.parametrize("program", [Async, Sync])
def test_batch_runs_where_no_loop_does(program):
    assert program().batch(rows(3), disable_progress_bar=True) == [0, 2, 4]
    assert Parallel(disable_progress_bar=True)([(program(), (4,))]) == [8]


def test_call_shapes_are_those_of_dspy():
    batch = list(inspect.signature(Module.batch).parameters)
    parallel = list(inspect.signature(Parallel).parameters)

    shared = ["provide_traceback", "disable_progress_bar", "timeout", "straggler_limit"]
    assert batch[1:5] == ["examples", "num_threads", "max_errors", "return_failed_examples"]
    assert batch[5:] == shared
    assert parallel[:4] == [
        "num_threads",
        "max_errors",
        "access_examples",
        "return_failed_examples",
    ]
    assert parallel[4:] == shared
    assert inspect.signature(Module.abatch).parameters.keys() == dict.fromkeys(batch).keys()


INPUTS = {
    "example": Example(x=4, label=1).with_inputs("x"),
    "dict": {"x": 4},
    "tuple": (4,),
}


@pytest.mark.parametrize("row", INPUTS.values(), ids=INPUTS)
async def test_row_may_be_given_in_several_shapes(form, row):
    assert await ran(form, Async(), [row]) == [8]


async def test_list_is_a_list_of_pairs_for_a_parallel_inside():
    inner = Parallel(disable_progress_bar=True)
    pairs = [(inner, [(Async(), (x,)), (Sync(), (x,))]) for x in range(2)]

    assert await Parallel(disable_progress_bar=True).acall(pairs) == [[0, 0], [2, 2]]


async def test_example_is_itself_the_input_where_it_is_not_accessed():
    given = Example(x=4).with_inputs("x")
    parallel = Parallel(access_examples=False, disable_progress_bar=True)

    assert (await parallel.acall([(lambda example: example, given)]))[0] is given


async def test_program_may_be_a_tool_or_a_plain_function():
    async def double(x):
        return 2 * x

    pairs = [(Tool(double), {"x": 1}), (double, (2,)), (lambda x: 2 * x, (3,))]

    assert await Parallel(disable_progress_bar=True).acall(pairs) == [2, 4, 6]


@pytest.mark.parametrize("given", ["text", 3, None, [1]], ids=["text", "number", "none", "list"])
async def test_row_of_another_shape_is_refused_before_anything_runs(form, given):
    program = Fails()

    with pytest.raises(InputError, match="Invalid example type: <class"):
        await ran(form, program, [{"x": 1}, given])
    assert program.seen == []


async def test_example_without_inputs_is_refused_before_anything_runs(form):
    with pytest.raises(InputError, match="Inputs have not been set") as caught:
        await ran(form, Async(), [Example(x=1)])
    assert isinstance(caught.value, ValueError)
    assert "with_inputs" in str(caught.value)


async def test_no_rows_give_no_results(form):
    assert await ran(form, Async(), []) == []
    assert await ran(form, Async(), [], return_failed_examples=True) == ([], [], [])


async def test_rows_may_come_from_a_generator(form):
    assert await ran(form, Async(), ({"x": x} for x in range(3))) == [0, 2, 4]


# -- how many at once ----------------------------------------------------------------------------


async def test_as_many_rows_run_at_once_as_are_wanted(form):
    program = Peak()
    await ran(form, program, rows(40), num_threads=5)

    assert program.peak == 5


async def test_by_default_as_many_rows_run_as_the_settings_say(form):
    program = Peak()
    with context(num_threads=3):
        await ran(form, program, rows(20))

    assert program.peak == 3


async def test_number_of_one_run_wins_over_the_number_of_the_parallel():
    program = Peak()
    await Parallel(2, disable_progress_bar=True).acall([(program, (x,)) for x in range(20)], 6)

    assert program.peak == 6


async def test_synchronous_programs_get_as_many_threads_as_are_wanted():
    everybody = threading.Barrier(12, timeout=20)
    together = lambda x: (everybody.wait(), x)[1]  # noqa: E731 - a row each

    pairs = [(together, (x,)) for x in range(12)]

    assert await Parallel(12, disable_progress_bar=True).acall(pairs) == list(range(12))


@pytest.mark.parametrize("number", [-1, 1.5, "8", True])
def test_number_that_is_none_is_refused(number):
    with pytest.raises(ConfigurationError, match="num_threads="):
        Parallel(number)


async def test_ten_thousand_rows_never_have_more_tasks_than_run_at_once():
    most = 0

    async def look(x):
        nonlocal most
        await asyncio.sleep(0)
        most = max(most, len(asyncio.all_tasks()))
        return x

    before = len(asyncio.all_tasks())
    pairs = [(look, (x,)) for x in range(10_000)]

    assert await Parallel(50, disable_progress_bar=True).acall(pairs) == list(range(10_000))
    assert most <= before + 50 + 1  # and the one that reads the rows
    assert len(asyncio.all_tasks()) == before


# -- failures ------------------------------------------------------------------------------------


async def test_failed_row_gives_none_and_is_logged(form, caplog):
    assert await ran(form, Fails(1), rows(3)) == [0, None, 2]
    (record,) = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert "row 1 failed: ValueError('not 1')" in record.getMessage()
    assert "Set `provide_traceback=True`" in record.getMessage()


async def test_failed_rows_are_returned_where_asked_for(form):
    given = [Example(x=x, y=0).with_inputs("x") for x in range(5)]
    results, failed, errors = await ran(form, Fails(3, 1), given, return_failed_examples=True)

    assert results == [0, None, 2, None, 4]
    assert [example.x for example in failed] == [1, 3]
    assert [str(error) for error in errors] == ["not 1", "not 3"]


async def test_failures_of_one_run_are_not_those_of_the_next():
    parallel = Parallel(return_failed_examples=True, disable_progress_bar=True)
    await parallel.acall([(Fails(1), (1,))])

    assert await parallel.acall([(Fails(1), (2,))]) == ([2], [], [])
    assert (parallel.failed_examples, parallel.exceptions) == ([], [])


async def test_traceback_is_logged_where_asked_for(form, caplog):
    await ran(form, Fails(0), rows(1), provide_traceback=True)
    with context(provide_traceback=True):
        await ran(form, Fails(0), rows(1))

    assert [text.count("Traceback (most recent") for text in caplog.messages] == [1, 1]
    assert all("in aforward" in text for text in caplog.messages)


async def test_key_in_an_error_is_not_logged(caplog, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test-ABCDEF0123456789abcdef")

    def leak():
        raise ValueError("refused sk-test-ABCDEF0123456789abcdef")

    for traceback in (True, False):
        await Parallel(provide_traceback=traceback, disable_progress_bar=True).acall([(leak, ())])

    assert "refused" in caplog.text
    assert "ABCDEF0123456789" not in caplog.text


@pytest.mark.parametrize("most", [1, 3])
async def test_so_many_failures_end_everything(form, most):
    program = Fails(*range(100))

    with pytest.raises(
        RowsError, match=r"Execution cancelled due to errors or interruption\."
    ) as caught:
        await ran(form, program, rows(100), max_errors=most, num_threads=1)
    assert program.seen == list(range(most))
    assert [failed.index for failed in caught.value.failures] == list(range(most))
    assert isinstance(caught.value.__cause__, ValueError)


async def test_by_default_the_settings_say_how_many_may_fail(form):
    with context(max_errors=2), pytest.raises(RowsError):
        await ran(form, Fails(0, 1), rows(3))
    with context(max_errors=3):
        assert await ran(form, Fails(0, 1), rows(3)) == [None, None, 2]


async def test_rows_that_run_are_cancelled_where_everything_ends():
    ended = []

    async def wait(x):
        if x == 0:
            await asyncio.sleep(0.01)
            raise ValueError
        try:
            await asyncio.sleep(60)
        finally:
            ended.append(x)

    with pytest.raises(RowsError):
        await Parallel(4, max_errors=1, disable_progress_bar=True).acall(
            [(wait, (x,)) for x in range(10)]
        )
    assert sorted(ended) == [1, 2, 3]


async def test_mistake_in_the_program_is_raised(form):
    program = Predict("question -> answer")

    with pytest.raises(LMNotConfiguredError):
        await ran(form, program, [{"question": "?"}] * 3)


async def test_used_up_budget_ends_everything(form):
    lm = DummyLM({"?": {"answer": "Paris"}})
    given = [{"question": f"{x}?"} for x in range(50)]

    with context(lm=lm, max_tokens_total=100), pytest.raises(BudgetError):
        await ran(form, Predict("question -> answer"), given, num_threads=1)
    assert 0 < len(lm.history) < 10


async def test_used_up_budget_in_a_group_of_errors_ends_everything():
    async def several():
        async with asyncio.TaskGroup() as group:
            group.create_task(spend())

    async def spend():
        raise BudgetError("spent")

    with pytest.raises(ExceptionGroup):
        await Parallel(disable_progress_bar=True).acall([(several, ())])


async def test_exit_of_a_program_ends_everything():
    def leave():
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        Parallel(disable_progress_bar=True)([(leave, ())])


async def test_program_that_cancels_itself_is_a_failed_row():
    async def give_up():
        raise asyncio.CancelledError

    parallel = Parallel(return_failed_examples=True, disable_progress_bar=True)
    results, _, errors = await parallel.acall([(give_up, ()), (Async(), (1,))])

    assert results == [None, 2]
    assert [type(error) for error in errors] == [asyncio.CancelledError]


class UnspeakableError(Exception):
    """Be an error that says nothing."""

    def __repr__(self):
        raise RuntimeError("no words")

    __str__ = __repr__


@pytest.mark.parametrize("traceback", [True, False])
async def test_error_that_cannot_be_shown_is_a_failed_row(traceback, caplog):
    async def fail():
        raise UnspeakableError

    options = {"provide_traceback": traceback, "disable_progress_bar": True}
    parallel = Parallel(return_failed_examples=True, **options)

    assert [type(e) for e in (await parallel.acall([(fail, ())]))[2]] == [UnspeakableError]
    with pytest.raises(RowsError, match="Unspeakable"):
        await Parallel(max_errors=1, **options).acall([(fail, ())])
    assert "Unspeakable" in caplog.text


@pytest.mark.parametrize("options", [{"timeout": None}, {"straggler_limit": None}])
async def test_no_limit_for_stragglers_means_that_there_are_none(form, options):
    assert await ran(form, Async(), rows(3), **options) == [0, 2, 4]


async def test_mistake_in_an_option_is_raised_and_does_not_hang():
    call = Parallel(timeout="soon", disable_progress_bar=True).acall([(Async(), (1,))])

    with pytest.raises(TypeError):
        await asyncio.wait_for(call, 5)


# -- stragglers ----------------------------------------------------------------------------------


class SlowAtFirst(Module):
    def __init__(self, fails=False):
        super().__init__()
        self.begun, self.cancelled, self.fails = [], [], fails

    async def aforward(self, x):
        self.begun.append(x)
        if x == 0 and self.begun.count(0) == 1:
            try:
                await asyncio.sleep(0.2 if self.fails else 60)
            except asyncio.CancelledError:
                self.cancelled.append(x)
                raise
            raise ValueError
        await asyncio.sleep(0.3 if self.fails and x == 0 else 0)
        return x


async def test_straggler_is_begun_again_and_the_slower_attempt_is_cancelled(form):
    program = SlowAtFirst()

    assert await ran(form, program, rows(3), timeout=0.05) == [0, 1, 2]
    assert (program.begun.count(0), program.cancelled) == (2, [0])


async def test_straggler_that_fails_leaves_it_to_its_second_attempt():
    program = SlowAtFirst(fails=True)

    assert await ran("abatch", program, rows(2), timeout=0.05) == [0, 1]


@pytest.mark.parametrize("options", [{"timeout": 0}, {"timeout": 0.05, "straggler_limit": 2}])
async def test_no_straggler_is_begun_again_where_none_is_meant(options):
    program = Peak(s=0.2)
    recorder = Recorder()
    with watching(recorder):
        await ran("abatch", program, rows(3), num_threads=3, **options)

    assert len(Trace(recorder.records).find(name="Peak")) == 3


async def test_straggler_makes_a_request_of_its_own():
    paris = Answer("[[ ## answer ## ]]\nParis")
    program = Predict("question -> answer")
    async with ScriptedServer([paris, Hang(), paris]) as server:
        lm = LM("openai/test", api_base=server.base_url, api_key="sk-test", num_retries=0)
        with context(lm=lm):
            await program.acall(question="the first one, which loads a library")
            (found,) = await ran("abatch", program, [{"question": "?"}], timeout=0.5)

    assert found.answer == "Paris"
    assert len(server.requests) == 3


# -- around --------------------------------------------------------------------------------------


async def test_settings_of_the_caller_hold_in_every_row(form):
    async def read():
        return settings.lm, settings.mine

    def read_in_thread():
        return settings.lm, settings.mine

    with context(lm="the caller's", mine=1):
        parallel = Parallel(disable_progress_bar=True)
        pairs = [(read, ()), (read_in_thread, ())]
        found = parallel(pairs) if form == "Parallel" else await parallel.acall(pairs)

    assert found == [("the caller's", 1)] * 2


async def test_what_a_row_sets_is_not_seen_by_the_next():
    async def enter(x):
        seen = settings.get("mine")
        context(mine=x).__enter__()
        return seen

    pairs = [(enter, (x,)) for x in range(3)]

    assert await Parallel(1, disable_progress_bar=True).acall(pairs) == [None] * 3


async def test_rows_are_steps_below_the_batch(form):
    recorder = Recorder()
    with watching(recorder):
        await ran(form, Async(), rows(3))
    trace = Trace(recorder.records)
    (root,) = trace.roots

    assert root.name == ("Async.batch" if "batch" in form else "Parallel")
    assert (root.kind, root.inputs["rows"]) == ("function", 3)
    assert [span.name for span in trace.children(root)] == ["Async"] * 3


async def test_batch_is_a_step_of_the_program_that_calls_it():
    class Outer(Module):
        async def aforward(self):
            return await Async().abatch(rows(2), disable_progress_bar=True)

    recorder = Recorder()
    with watching(recorder):
        await Outer().acall()
    trace = Trace(recorder.records)
    (outer,) = trace.roots
    (batch,) = trace.children(outer)

    assert (outer.name, batch.name) == ("Outer", "Async.batch")
    assert len(trace.children(batch)) == 2


@pytest.mark.parametrize("inner", ["batch", "abatch"])
async def test_batch_below_a_batch_works(form, inner):
    class Nest(Module):
        def forward(self, x):
            return Async().batch(rows(x), disable_progress_bar=True)

    class AsyncNest(Module):
        async def aforward(self, x):
            return await Async().abatch(rows(x), disable_progress_bar=True)

    program = Nest() if inner == "batch" else AsyncNest()

    assert await ran(form, program, rows(4), num_threads=2) == [[], [0], [0, 2], [0, 2, 4]]


async def test_tokens_of_every_row_are_counted(form):
    lm = DummyLM({"?": {"answer": "Paris"}})
    program = Predict("question -> answer")
    with context(lm=lm, track_usage=True), track_usage() as tracker:
        found = await ran(form, program, [{"question": "?"}] * 3)
    one = found[0].get_lm_usage()["dummy"]["total_tokens"]

    assert tracker.get_total_tokens()["dummy"]["total_tokens"] == 3 * one > 0
    assert [each.get_lm_usage() for each in found] == [found[0].get_lm_usage()] * 3


async def test_module_that_calls_a_batch_knows_its_tokens():
    class Outer(Module):
        def __init__(self):
            super().__init__()
            self.ask = Predict("question -> answer")

        async def aforward(self):
            found = await self.ask.abatch([{"question": "?"}] * 3, disable_progress_bar=True)
            return Prediction(inner=found)

    with context(lm=DummyLM({"?": {"answer": "Paris"}}), track_usage=True):
        outer = await Outer().acall()
    one = outer.inner[0].get_lm_usage()["dummy"]["total_tokens"]

    assert outer.get_lm_usage()["dummy"]["total_tokens"] == 3 * one


async def test_cancelled_batch_leaves_no_task(form):
    before = asyncio.all_tasks()
    ended = []

    async def wait():
        try:
            await asyncio.sleep(60)
        finally:
            await asyncio.sleep(0)
            ended.append(True)

    call = Parallel(3, disable_progress_bar=True).acall([(wait, ())] * 5)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(call, 0.05)
    assert asyncio.all_tasks() == before
    assert (len(ended), running()) == (3, [])


async def test_loop_goes_on_while_a_synchronous_batch_waits():
    beats = []

    async def beat():
        while True:
            beats.append(1)
            await asyncio.sleep(0.005)

    heart = asyncio.create_task(beat())
    Peak(s=0.02).batch(rows(10), num_threads=2, disable_progress_bar=True)
    heart.cancel()

    assert len(beats) > 5


def test_batch_may_configure_nothing_for_others():
    def set_up():
        configure(num_threads=1)

    parallel = Parallel(return_failed_examples=True, disable_progress_bar=True)
    with pytest.raises(ConfigurationError):
        parallel([(set_up, ())])
