import subprocess
import sys

import pytest

from nbtool.tracing.record import SpanRecord
from nbtool.tracing.tree import Totals, Trace, subtree, totals_of


def record(number, parent=None, kind="tool", status="ok", start_s=10.0, end_s=11.0, **more):
    values = {
        "id": number, "parent_id": parent, "kind": kind, "name": f"n{number}",
        "start_s": start_s, "end_s": end_s, "status": status,
    }  # fmt: skip
    if status == "error":
        values["error"] = {"type": "ValueError", "message": "no"}
    return SpanRecord.from_json({**values, **more})


def ids(spans):
    return [span.id for span in spans]


FOREST = [
    record(1, kind="module"),
    record(2, 1, kind="predict"),
    record(3, 2, kind="lm"),
    record(4, 1, kind="tool"),
    record(5, kind="tool", name="n2"),
]


def test_spans_come_in_the_order_of_opening():
    trace = Trace.of(FOREST)

    assert ids(trace) == ids(trace.spans) == [1, 2, 3, 4, 5]
    assert len(trace) == 5


def test_roots_are_the_outermost_recorded_steps():
    assert ids(Trace.of(FOREST).roots) == [1, 5]
    assert ids(Trace.of(FOREST[1:]).roots) == [2, 4, 5]


def test_children_are_the_steps_directly_inside():
    trace = Trace.of(FOREST)

    assert ids(trace.children(FOREST[0])) == [2, 4]
    assert ids(trace.children(FOREST[4])) == []


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"name": "n2"}, [2, 5]),
        ({"kind": "tool"}, [4, 5]),
        ({"name": "n2", "kind": "tool"}, [5]),
        ({"name": "none"}, []),
        ({}, [1, 2, 3, 4, 5]),
    ],
    ids=["name", "kind", "both", "nothing", "all"],
)
def test_find_gives_the_steps_of_that_name_and_kind(asked, found):
    assert ids(Trace.of(FOREST).find(**asked)) == found


def test_subtree_is_one_root_call():
    assert ids(subtree(FOREST, 1)) == [1, 2, 3, 4]
    assert ids(subtree(FOREST, 2)) == [2, 3]
    assert ids(subtree(FOREST, 99)) == []


def test_subtree_of_a_root_that_had_to_make_room_is_what_is_left():
    assert ids(subtree(FOREST[1:], 1)) == [2, 3, 4]


def test_trace_made_of_records_does_not_follow_the_list():
    given = list(FOREST)
    trace = Trace.of(given)

    given.clear()
    trace.spans.clear()

    assert len(trace) == 5


def test_trace_follows_its_source():
    given = []
    trace = Trace(lambda: list(given), lambda: 3)
    given += FOREST

    assert (len(trace), trace.dropped) == (5, 3)


def test_trace_of_nothing_sums_up_to_nothing():
    trace = Trace.of([])

    assert trace.totals == Totals()
    assert (trace.roots, trace.spans, trace.dropped) == ([], [], 0)


def test_totals_add_up_tokens_and_cost_of_lm_calls():
    spans = [
        record(1, kind="predict"),
        record(2, 1, "lm", usage={"prompt_tokens": 10, "completion_tokens": 2}, cost_usd=0.5),
        record(3, 1, "lm", usage={"prompt_tokens": 5}, cost_usd=0.25),
        record(4, 1, "lm"),
    ]

    assert totals_of(spans) == Totals(
        steps=4, lm_calls=3, prompt_tokens=15, completion_tokens=2, cost_usd=0.75, wall_s=1.0
    )


@pytest.mark.parametrize(
    ("costs", "total"), [([None, None], None), ([0.0, None], 0.0)], ids=["unknown", "free"]
)
def test_unknown_cost_is_not_zero(costs, total):
    spans = [record(i, kind="lm", cost_usd=cost) for i, cost in enumerate(costs)]

    assert totals_of(spans).cost_usd == total


def test_wall_time_is_from_the_first_start_to_the_last_end():
    spans = [record(1, start_s=10.0, end_s=12.0), record(2, start_s=11.0, end_s=15.5)]

    assert totals_of(spans).wall_s == 5.5


def test_wall_time_of_running_steps_is_not_known():
    assert totals_of([record(1, status="running", end_s=None)]).wall_s == 0.0


ERRORS = {
    "none": ([record(1)], 0),
    "passed_through": (
        [record(1, status="error"), record(2, 1, status="error"), record(3, 2, status="error")], 1
    ),
    "caught": ([record(1), record(2, 1, status="error")], 1),
    "two_of_one_parent": (
        [record(1, status="error"), record(2, 1, status="error"), record(3, 1, status="error")], 2
    ),
    "cancelled_is_no_error": ([record(1, status="cancelled")], 0),
    "roots": ([record(1, status="error"), record(2, status="error")], 2),
}  # fmt: skip


@pytest.mark.parametrize(("spans", "errors"), ERRORS.values(), ids=ERRORS)
def test_error_is_counted_once_where_it_was_raised_first(spans, errors):
    assert totals_of(spans).errors == errors


def test_trace_is_drawn_by_the_views_where_they_are_loaded():
    script = """
from nbtool.tracing.tree import Trace
print(repr(Trace.of([])))
import nbtool.views.watching
print(repr(Trace.of([])))
"""
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # noqa: S603 - fixed

    assert run.stdout.splitlines() == ["<Trace of 0 steps>", "trace  0 steps · 0 LM calls"]
