"""`amap`: rows as they come, however many there are."""

from __future__ import annotations

import asyncio
import gc
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path

import pytest

from nbtool.configuration import configure, context, settings
from nbtool.errors import (
    BudgetError,
    ConfigurationError,
    InputError,
    LMNotConfiguredError,
    RowsError,
)
from nbtool.executors.failed import FailedRow
from nbtool.programs.example import Example
from nbtool.programs.mapping import amap
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.programs.prediction import Prediction
from nbtool.programs.usage import track_usage
from nbtool.runtime.inflight import running, stop
from nbtool.testing.dummy import DummyLM
from nbtool.tools.tool import Tool
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace

CHECKOUT = Path(__file__).parents[2]


class Double(Module):
    async def aforward(self, x):
        await asyncio.sleep(0.002 * (5 - x % 5))
        return 2 * x


class Fails(Module):
    """Fail at the numbers that are given."""

    def __init__(self, *numbers):
        super().__init__()
        self.numbers = numbers

    async def aforward(self, x):
        await asyncio.sleep(0)
        if x in self.numbers:
            raise ValueError(f"not {x}")
        return x


class Waits(Module):
    """Count the rows that begin, and those that are cancelled."""

    def __init__(self, s=60):
        super().__init__()
        self.s, self.begun, self.cancelled = s, 0, 0

    async def aforward(self, x):
        self.begun += 1
        if x == 0:
            return x
        try:
            await asyncio.sleep(self.s)
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)  # cleaning up takes a moment
            self.cancelled += 1
            raise
        return x


async def double(x):
    await asyncio.sleep(0)
    return 2 * x


def rows(number):
    return [{"x": x} for x in range(number)]


async def arows(number):
    for x in range(number):
        await asyncio.sleep(0)
        yield {"x": x}


async def all_of(mapped, into=None):
    """Return all results; `into` has those that came before an error."""
    got = [] if into is None else into
    async for result in mapped:
        got.append(result)
    return got


@pytest.fixture(autouse=True)
async def _nothing_is_left():
    yield
    await asyncio.sleep(0.02)
    assert [task for task in asyncio.all_tasks() if task.get_name().startswith("nbtool")] == []
    assert running() == []


PROGRAMS = {
    "module": Double(),
    "coroutine function": double,
    "function": lambda x: 2 * x,
    "tool": Tool(double),
    "object": type("Object", (), {"__call__": lambda self, x: 2 * x})(),
}


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=PROGRAMS)
async def test_results_come_in_the_order_of_the_rows(program):
    assert await all_of(amap(program, rows(20))) == [2 * x for x in range(20)]


SHAPES = {
    "dict": {"x": 4},
    "tuple": (4,),
    "example": Example(x=4, y=1).with_inputs("x"),
    "value": 4,
}


@pytest.mark.parametrize("row", SHAPES.values(), ids=SHAPES)
async def test_row_may_be_given_in_several_shapes(row):
    assert await all_of(amap(Double(), [row])) == [8]


SOURCES = {
    "list": lambda: rows(7),
    "generator": lambda: (row for row in rows(7)),
    "range": lambda: range(7),
    "asynchronous generator": lambda: arows(7),
}


@pytest.mark.parametrize("source", SOURCES.values(), ids=SOURCES)
async def test_rows_may_come_from_any_iterable(source):
    assert await all_of(amap(Double(), source(), concurrency=2)) == [2 * x for x in range(7)]


async def test_no_rows_give_no_results():
    assert await all_of(amap(Double(), [])) == []
    assert await all_of(amap(Double(), arows(0))) == []


async def test_results_come_as_rows_end_where_order_does_not_matter():
    async def sleep(s):
        await asyncio.sleep(s)
        return s

    naps = [0.15, 0.01, 0.08]
    unordered = amap(sleep, naps, ordered=False)

    assert await all_of(unordered) == sorted(naps)


async def test_rows_can_be_had_with_their_results():
    mapped = amap(Fails(1), rows(3), ordered=False)
    found = {row["x"]: result async for row, result in mapped.with_rows()}

    assert (found[0], found[2], type(found[1])) == (0, 2, FailedRow)


async def test_nothing_starts_before_the_first_result_is_asked_for():
    program = Waits()
    mapped = amap(program, rows(3))
    await asyncio.sleep(0.02)

    assert program.begun == 0
    assert repr(mapped) == "<amap(Waits): `async for result in …` gives its results>"


# -- failures ------------------------------------------------------------------------------------


async def test_failed_row_gives_an_error_record():
    _, failed, last = await all_of(amap(Fails(1), rows(3)))

    assert (failed.index, failed.row, str(failed.error), last) == (1, {"x": 1}, "not 1", 2)
    assert repr(failed) == "FailedRow(index=1, row={'x': 1}, error=ValueError('not 1'))"
    with pytest.raises(AttributeError):
        failed.index = 2


async def test_traceback_of_an_error_record_shows_the_users_code_alone():
    (failed,) = await all_of(amap(Fails(0), rows(1)))

    assert failed.error.__traceback__.tb_frame.f_code.co_name == "aforward"


async def test_long_row_is_shown_in_short():
    (failed,) = await all_of(amap(Fails(), [{"x": 0, "y": "long" * 10_000}]))

    assert len(repr(failed)) < 1_000


async def test_first_error_is_raised_where_wanted():
    program = Waits()

    async def fail(x):
        if x == 2:
            raise ValueError("no")
        return await program.acall(x=x)

    got = []
    with pytest.raises(ValueError, match="no") as caught:
        await all_of(amap(fail, range(9), on_error="raise", concurrency=3), got)
    assert got == [0]
    assert caught.value.__notes__ == ["It was raised by row 2."]
    assert (program.begun, program.cancelled) == (2, 1)


async def test_so_many_failures_end_everything_where_wanted():
    got = []
    with pytest.raises(RowsError) as caught:
        await all_of(amap(Fails(1, 3, 5), rows(9), max_errors=2, concurrency=1), got)
    assert [failed.index for failed in caught.value.failures] == [1, 3]
    assert [type(result) for result in got] == [int, FailedRow, int, FailedRow]


async def test_mistake_in_the_program_is_raised():
    with pytest.raises(LMNotConfiguredError):
        await all_of(amap(Predict("question -> answer"), [{"question": "?"}]))
    with pytest.raises(InputError, match=r"question=\.\.\."):
        await all_of(amap(Predict("question -> answer"), ["?"]))


async def test_used_up_budget_ends_everything():
    got = []
    with context(lm=DummyLM({"?": {"answer": "Paris"}}), max_tokens_total=100):
        mapped = amap(Predict("question -> answer"), [{"question": "?"}] * 100, concurrency=1)

    with pytest.raises(BudgetError):
        await all_of(mapped, got)
    assert 0 < len(got) < 10


@pytest.mark.parametrize("ordered", [True, False])
async def test_error_of_the_source_comes_behind_the_rows_before_it(ordered):
    async def source():
        yield {"x": 0}
        yield {"x": 1}
        raise OSError("the file is gone")

    got = []
    with pytest.raises(OSError, match="the file is gone"):
        await all_of(amap(Double(), source(), ordered=ordered), got)
    assert sorted(got) == [0, 2]


async def test_slow_source_does_not_hold_results_back():
    async def source():
        yield {"x": 0}
        await asyncio.sleep(60)

    async with amap(Double(), source()) as mapped:
        assert await asyncio.wait_for(anext(mapped), 5) == 0


async def test_exit_of_a_program_ends_everything():
    def leave(x):
        raise SystemExit(x)

    with pytest.raises(SystemExit):
        await all_of(amap(leave, [3]))


WRONG = {
    "one dict": ({"x": 1}, {}, InputError),
    "one text": ("text", {}, InputError),
    "one example": (Example(x=1), {}, InputError),
    "nothing": (None, {}, InputError),
    "no number": ([], {"concurrency": -2}, ConfigurationError),
    "no way": ([], {"on_error": "ignore"}, ConfigurationError),
}


@pytest.mark.parametrize(("given", "options", "error"), WRONG.values(), ids=WRONG)
async def test_what_makes_no_sense_is_refused_at_once(given, options, error):
    with pytest.raises(error):
        amap(Double(), given, **options)


# -- back-pressure -------------------------------------------------------------------------------


async def test_ten_thousand_rows_never_have_more_tasks_than_run_at_once():
    most = 0
    before = len(asyncio.all_tasks())

    async def look(x):
        nonlocal most
        await asyncio.sleep(0)
        most = max(most, len(asyncio.all_tasks()))
        return x

    assert await all_of(amap(look, range(10_000), concurrency=100)) == list(range(10_000))
    assert most <= before + 100 + 2  # one that drives, and one that reads the rows


@pytest.mark.parametrize("ordered", [True, False])
async def test_rows_are_not_read_while_nobody_takes_results(ordered):
    read = 0

    def source():
        nonlocal read
        for x in range(1_000_000):
            read += 1
            yield x

    async with amap(double, source(), concurrency=5, ordered=ordered) as mapped:
        await anext(mapped)
        await asyncio.sleep(0.05)
        early = read
        for _ in range(10):
            await anext(mapped)
        await asyncio.sleep(0.05)

    assert early <= 5 * 4 + 1
    assert read == early + 10


async def test_row_that_takes_long_lets_so_many_others_go_ahead():
    begun = []

    async def slow_at_first(x):
        begun.append(x)
        await asyncio.sleep(0.2 if x == 0 else 0)
        return x

    assert await all_of(amap(slow_at_first, range(50), concurrency=3)) == list(range(50))
    async with amap(slow_at_first, range(50), concurrency=3) as mapped:
        begun.clear()
        task = asyncio.create_task(anext(mapped))
        await asyncio.sleep(0.1)
        assert len(begun) == 3 * 4
        await task


async def test_memory_stays_flat_over_many_rows():
    async def touch(x):
        return x

    async def peak_of(number):
        gc.collect()
        tracemalloc.start()
        async for _ in amap(touch, iter(range(number)), concurrency=20):
            pass
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        return peak

    await peak_of(500)  # whatever is made once

    assert await peak_of(10_000) < await peak_of(1_000) + 200_000


# -- ending early --------------------------------------------------------------------------------


async def leave_by_break(mapped):
    async for _ in mapped:
        break
    await mapped.aclose()


async def leave_by_dropping(mapped):
    await anext(mapped)


async def leave_by_block(mapped):
    async with mapped:
        await anext(mapped)


async def leave_by_timeout(mapped):
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(all_of(mapped), 0.05)


async def leave_by_stop(mapped):
    task = asyncio.create_task(all_of(mapped))
    await asyncio.sleep(0.02)
    assert stop() == 1
    with pytest.raises(asyncio.CancelledError):
        await task


LEAVING = [leave_by_break, leave_by_dropping, leave_by_block, leave_by_timeout, leave_by_stop]


@pytest.mark.parametrize("leave", LEAVING, ids=lambda function: function.__name__)
async def test_rows_are_cancelled_where_nobody_wants_them_any_more(leave):
    program = Waits()
    await leave(amap(program, rows(50), concurrency=4))
    gc.collect()
    await asyncio.sleep(0.1)

    assert program.begun == 5
    assert program.cancelled == 4


async def test_end_of_the_block_waits_until_rows_have_cleaned_up():
    program = Waits()
    async with amap(program, rows(5), concurrency=3) as mapped:
        await anext(mapped)
        await asyncio.sleep(0.01)

    assert program.cancelled == 3


async def test_stopped_before_its_first_step_it_leaves_nothing():
    task = asyncio.create_task(anext(amap(Double(), rows(3))))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_after_a_break_one_can_go_on():
    mapped = amap(double, range(5))
    got = []
    async for result in mapped:
        got.append(result)
        if result == 2:
            break

    assert got + await all_of(mapped) == [0, 2, 4, 6, 8]


def script(body, *, interrupt_after=None):
    source = "import asyncio, time, nbtool\n" + textwrap.dedent(body)
    process = subprocess.Popen(  # noqa: S603 - our own script
        [sys.executable, "-u", "-W", "error", "-c", source],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=CHECKOUT,
    )  # fmt: skip
    first = process.stdout.readline() if interrupt_after else ""
    if interrupt_after:
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
    try:
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
    return first + out, err, process.returncode


WAITING = """
ended = []

async def wait(x):
    if x == 0:
        print("running")
    try:
        await asyncio.sleep(60)
    finally:
        ended.append(x)

async def main():
    async for _ in nbtool.amap(wait, range(100), concurrency=3):
        pass

try:
    {run}
except KeyboardInterrupt:
    print("interrupted", sorted(ended))
"""
WAYS = {
    "asyncio.run": "asyncio.run(main())",
    "the door": "nbtool.run(main())",
    "Parallel": "nbtool.Parallel(3)([(wait, (x,)) for x in range(100)])",
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_interrupt_of_a_script_ends_every_row(way):
    out, err, _ = script(WAITING.format(run=way), interrupt_after="running")

    assert (out.splitlines()[-1], err) == ("interrupted [0, 1, 2]", "")


BLOCKING = WAITING.replace("await asyncio.sleep(60)", "time.sleep(60)")


@pytest.mark.parametrize("way", [WAYS["the door"], WAYS["Parallel"]], ids=["door", "Parallel"])
def test_interrupt_of_a_row_that_blocks_ends_every_row(way):
    out, err, _ = script(BLOCKING.format(run=way), interrupt_after="running")

    assert (out.splitlines()[-1][:14], err) == ("interrupted [0", "")


def test_exit_of_a_row_ends_the_script():
    out, err, code = script("""
        async def leave(x):
            if x == 3:
                raise SystemExit(4)
            await asyncio.sleep(60)

        async def main():
            async for _ in nbtool.amap(leave, range(10)):
                pass

        asyncio.run(main())
    """)

    assert (out, err, code) == ("", "", 4)


# -- around --------------------------------------------------------------------------------------


async def test_settings_of_the_place_of_the_call_hold_in_every_row():
    async def read(x):
        return settings.lm, settings.mine

    with context(lm="the caller's", mine=1):
        mapped = amap(read, range(2))
    with context(mine=2):
        assert await all_of(mapped) == [("the caller's", 1)] * 2


async def test_what_a_row_sets_is_seen_neither_by_others_nor_by_the_consumer():
    async def enter(x):
        seen = settings.get("mine")
        context(mine=x).__enter__()
        return seen

    assert await all_of(amap(enter, range(3), concurrency=1)) == [None] * 3
    assert "mine" not in settings


async def test_rows_are_steps_of_one_call():
    recorder = Recorder()
    with watching(recorder):
        await all_of(amap(Double(), rows(3)))
    trace = Trace(recorder.records)
    (root,) = trace.roots

    assert (root.name, root.kind, root.status) == ("amap(Double)", "function", "ok")
    assert [span.name for span in trace.children(root)] == ["Double"] * 3


async def test_rows_are_steps_of_the_program_that_maps():
    class Outer(Module):
        async def aforward(self):
            return Prediction(inner=await all_of(amap(Double(), rows(2))))

    recorder = Recorder()
    with watching(recorder):
        await Outer().acall()
    trace = Trace(recorder.records)
    (outer,) = trace.roots
    (mapping,) = trace.children(outer)

    assert (outer.name, mapping.name) == ("Outer", "amap(Double)")
    assert len(trace.children(mapping)) == 2


async def test_program_in_a_map_may_map_itself():
    class Nest(Module):
        async def aforward(self, x):
            return await all_of(amap(Double(), range(x), concurrency=2))

    assert await all_of(amap(Nest(), range(4), concurrency=2)) == [[], [0], [0, 2], [0, 2, 4]]


async def test_synchronous_program_in_a_map_may_run_a_batch():
    class Nest(Module):
        def forward(self, x):
            return Double().batch(rows(x), disable_progress_bar=True)

    assert await all_of(amap(Nest(), range(20), concurrency=20)) == [
        [2 * y for y in range(x)] for x in range(20)
    ]


async def test_tokens_of_every_row_are_counted():
    class Outer(Module):
        def __init__(self):
            super().__init__()
            self.ask = Predict("question -> answer")

        async def aforward(self):
            return Prediction(inner=await all_of(amap(self.ask, [{"question": "?"}] * 3)))

    with (
        context(lm=DummyLM({"?": {"answer": "Paris"}}), track_usage=True),
        track_usage() as tracker,
    ):
        outer = await Outer().acall()
    one = outer.inner[0].get_lm_usage()["dummy"]["total_tokens"]

    assert outer.get_lm_usage()["dummy"]["total_tokens"] == 3 * one > 0
    assert tracker.get_total_tokens()["dummy"]["total_tokens"] == 3 * one


async def test_row_may_not_configure_for_all():
    async def set_up(x):
        configure(num_threads=1)

    with pytest.raises(ConfigurationError):
        await all_of(amap(set_up, [1]))


async def test_two_maps_at_once_do_not_mix():
    both = await asyncio.gather(
        all_of(amap(double, range(50))), all_of(amap(double, range(50, 100), ordered=False))
    )

    assert both[0] == [2 * x for x in range(50)]
    assert sorted(both[1]) == [2 * x for x in range(50, 100)]
