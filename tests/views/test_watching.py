import asyncio
import io
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from nbtool.tracing.decorator import traced
from nbtool.tracing.process import process_recorder
from nbtool.views.watching import last_trace, trace


@traced
def double(x):
    return 2 * x


@traced
async def wait_for(event):
    await event.wait()
    return double(4)


@traced
def fail():
    raise ValueError("no")


def names(steps):
    return [step.name for step in steps]


def screen():
    return Console(file=io.StringIO(), force_terminal=True, width=100)


def test_trace_has_the_calls_of_its_block():
    double(1)
    with trace() as t:
        double(2)
        double(3)
    double(4)

    assert [step.output for step in t] == [4, 6]


def test_trace_that_saw_nothing_is_empty():
    with trace() as t:
        pass

    assert len(t) == 0
    assert str(t) == "trace  0 steps · 0 LM calls"


async def test_trace_grows_while_the_call_runs_and_stays():
    event = asyncio.Event()
    with trace() as t:
        task = asyncio.create_task(wait_for(event))
        await asyncio.sleep(0)
        while_running = [step.status for step in t]
    event.set()
    await task

    assert while_running == ["running"]
    assert [step.status for step in t] == ["ok", "ok"]


def test_traces_nest():
    with trace() as outer:
        double(1)
        with trace() as inner:
            double(2)

    assert (len(outer), len(inner)) == (2, 1)


async def test_trace_sees_its_own_task_only():
    async def watch(x):
        with trace() as t:
            await asyncio.sleep(0)
            double(x)
            await asyncio.sleep(0)
        return [step.inputs["x"] for step in t]

    assert await asyncio.gather(watch(1), watch(2)) == [[1], [2]]


def test_error_in_the_block_reaches_its_owner_and_is_recorded():
    with pytest.raises(ValueError, match="no"), trace() as t:
        fail()

    assert t.totals.errors == 1


def test_trace_is_drawn_as_a_tree():
    with trace() as t:
        double(2)

    assert str(t).splitlines()[0].startswith("trace  1 step · 0 LM calls")
    assert "✓ double  function" in repr(t)


def test_last_trace_is_the_root_call_that_started_last():
    double(1)
    asyncio.run(wait_for_set_event())

    assert names(last_trace()) == ["wait_for", "double"]


async def wait_for_set_event():
    event = asyncio.Event()
    event.set()
    await wait_for(event)


def test_last_trace_sees_calls_of_other_threads():
    thread = threading.Thread(target=double, args=(21,))
    thread.start()
    thread.join()

    assert last_trace().spans[0].output == 42


def test_last_trace_keeps_to_its_call():
    double(1)
    first = last_trace()
    double(2)

    assert first.spans[0].inputs == {"x": 1}
    assert last_trace().spans[0].inputs == {"x": 2}


def test_last_trace_is_empty_where_nothing_was_called():
    process_recorder.clear()

    assert len(last_trace()) == 0


async def test_live_trace_shows_a_step_while_it_runs_and_when_it_is_done():
    console = screen()
    event = asyncio.Event()
    with trace(live=True, console=console) as t:
        task = asyncio.create_task(wait_for(event))
        await asyncio.sleep(0.5)
        while_running = console.file.getvalue()
        event.set()
        await task
    at_the_end = console.file.getvalue()[len(while_running) :]

    assert ("wait_for" in while_running, "✓" in while_running) == (True, False)
    assert "✓" in at_the_end
    assert "double" in at_the_end
    assert len(t) == 2


def test_live_trace_shows_the_error_and_lets_it_pass():
    console = screen()
    with pytest.raises(ValueError, match="no"), trace(live=True, console=console):
        fail()

    assert "✗" in console.file.getvalue()
    assert "ValueError: no" in console.file.getvalue()


def test_live_trace_leaves_the_streams_of_the_program_as_they_were():
    before = (sys.stdout, sys.stderr)
    with trace(live=True, console=screen()):
        pass

    assert (sys.stdout, sys.stderr) == before


def test_live_trace_gives_the_cursor_back():
    console = screen()
    with trace(live=True, console=console):
        double(1)

    assert console.file.getvalue().count("\x1b[?25l") == console.file.getvalue().count("\x1b[?25h")


def test_live_trace_on_a_pipe_writes_the_tree_once_at_the_end():
    console = Console(file=io.StringIO(), force_terminal=False, width=100)
    with trace(live=True, console=console):
        double(1)
        while_open = console.file.getvalue()

    assert while_open == ""
    assert console.file.getvalue().count("double") == 1


@pytest.mark.parametrize("live", [True, False])
def test_lms_stream_only_for_a_live_trace(live):
    seen = []

    @traced
    def look():
        from nbtool.tracing.boundary import current_span

        seen.append(current_span().run.wants_tokens)

    with trace(live=live, console=screen()):
        look()

    assert seen == [live]


def test_live_traces_nest():
    with trace(live=True, console=screen()) as outer, trace(live=True, console=screen()) as inner:
        double(1)

    assert (len(outer), len(inner)) == (1, 1)


def test_live_traces_nest_on_one_console():
    console = screen()
    with trace(live=True, console=console) as outer, trace(live=True, console=console) as inner:
        double(1)

    assert (len(outer), len(inner)) == (1, 1)


def test_watching_imports_no_terminal_library_before_something_is_drawn():
    script = """
import sys
from nbtool.views.watching import trace
with trace():
    pass
print("rich" in sys.modules)
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - fixed

    assert run.stdout.strip() == "False"
