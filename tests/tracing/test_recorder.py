import asyncio
import concurrent.futures
import threading

from nbtool.tracing.boundary import install, traced, traced_inline, uninstall, watching
from nbtool.tracing.recorder import Recorder


def call(name, output=None, **inputs):
    traced_inline("function", name, lambda **_: output, inputs)


def calls(names, output=None):
    for name in names:
        call(name, output)


def names(recorder):
    return [record.name for record in recorder.records()]


def test_steps_are_kept_in_the_order_of_opening():
    recorder = Recorder()
    with watching(recorder):
        traced_inline("function", "root", lambda: calls("ab"), {})

    assert names(recorder) == ["root", "a", "b"]


def test_oldest_finished_steps_make_room():
    recorder = Recorder(max_spans=3)
    with watching(recorder):
        calls("abcde")

    assert names(recorder) == ["c", "d", "e"]
    assert recorder.dropped == 2


async def test_running_steps_are_not_dropped():
    go = asyncio.Event()
    recorder = Recorder(max_spans=2)
    with watching(recorder):
        running = [asyncio.create_task(traced("tool", f"r{i}", go.wait, {})) for i in range(4)]
        await asyncio.sleep(0)
        call("finished")
        call("last")
    while_running = names(recorder)
    go.set()
    await asyncio.gather(*running)

    assert while_running == ["r0", "r1", "r2", "r3"]
    assert len(recorder.records()) == 2


def test_memory_is_bounded_right_after_a_step_closes():
    recorder = Recorder(max_bytes=50_000)
    with watching(recorder):
        call("early")
        call("large", "x" * 40_000)
        call("larger", "x" * 45_000)

    assert names(recorder) == ["larger"]
    assert sum(record.size_bytes for record in recorder.records()) <= 50_000


def test_step_larger_than_the_whole_memory_is_not_kept():
    recorder = Recorder(max_bytes=50_000)
    with watching(recorder):
        call("small")
        call("huge", "x" * 60_000)

    assert names(recorder) == []
    assert recorder.dropped == 2


def test_large_inputs_make_room_when_the_step_opens():
    recorder = Recorder(max_bytes=50_000)
    with watching(recorder):
        call("early", "x" * 20_000)
        traced_inline("function", "root", lambda text: names(recorder), {"text": "y" * 40_000})

    assert names(recorder) == ["root"]
    assert recorder.records()[0].output == ["root"]


def test_size_grows_by_what_the_step_returned():
    recorder = Recorder()
    with watching(recorder):
        call("small", "x")
        call("large", "x" * 10_000)

    small, large = recorder.records()
    assert 9_900 <= large.size_bytes - small.size_bytes <= 10_100


def test_two_recorders_share_one_record_and_one_size():
    one, other = Recorder(), Recorder(max_bytes=5_000)
    with watching(one), watching(other):
        call("a", "x" * 1_000)
        call("b", "x" * 4_000)

    assert one.records()[1] is other.records()[0]
    assert (names(one), names(other)) == (["a", "b"], ["b"])
    assert other.dropped == 1


def test_recorder_that_comes_late_misses_the_open_step_only():
    late = Recorder()

    def root():
        install(late)
        call("inner")

    traced_inline("function", "root", root, {})
    uninstall(late)

    assert names(late) == ["inner"]


def test_step_that_was_cleared_while_it_ran_is_not_counted_again():
    recorder = Recorder(max_spans=1)
    with watching(recorder):
        traced_inline("function", "root", recorder.clear, {})
        calls("ab")

    assert names(recorder) == ["b"]
    assert recorder.last_root_id() == recorder.records()[0].id


def test_clear_forgets_everything():
    recorder = Recorder(max_spans=1)
    with watching(recorder):
        calls("ab")

    recorder.clear()

    assert recorder.records() == []
    assert recorder.last_root_id() is None
    assert recorder.dropped == 0


def test_last_root_is_the_root_call_that_started_last():
    recorder = Recorder()
    with watching(recorder):
        calls("a")
        traced_inline("function", "root", lambda: calls("bc"), {})

    assert recorder.last_root_id() == recorder.records()[1].id


def test_steps_of_many_threads_are_all_counted():
    recorder = Recorder(max_spans=500)
    start = threading.Barrier(8)

    def work(_):
        start.wait()
        with watching(recorder):
            calls(["x"] * 250, "out")

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(8)))

    assert len(recorder.records()) == 500
    assert recorder.dropped == 1_500
    assert {record.status for record in recorder.records()} == {"ok"}


def test_records_can_be_read_while_a_step_runs():
    recorder = Recorder()
    with watching(recorder):
        call("done")
        traced_inline("tool", "reads", lambda: [r.status for r in recorder.records()], {})

    assert recorder.records()[1].output == ["ok", "running"]
