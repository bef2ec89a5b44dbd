"""Two traces side by side."""

from __future__ import annotations

import pytest

from nbtool.tracing.record import SpanRecord
from nbtool.tracing.tree import Trace


def trace(*steps):
    """Make a trace of (id, parent, kind, name, inputs, output)."""
    return Trace.of(
        [
            SpanRecord(
                id=i, parent_id=parent, kind=kind, name=name, start_s=0.0, end_s=1.0, status="ok",
                _inputs=inputs, _output=output,
            )
            for i, parent, kind, name, inputs, output in steps
        ]
    )  # fmt: skip


ROOT = (1, None, "module", "Agent", {"q": "a"}, "done")
LOOK = (2, 1, "tool", "look", {"x": 1}, 2)
LM = (3, 1, "lm", "m", {"prompt": "p"}, ["yes"])
BASE = trace(ROOT, LOOK, LM)


def changes(before, after):
    return [(row.change, row.name, *row.what) for row in before.diff(after).changes]


def test_trace_is_the_same_as_itself():
    assert not BASE.diff(BASE)
    assert [row.change for row in BASE.diff(BASE).rows] == ["same"] * 3


CHANGES = {
    "output": ((2, 1, "tool", "look", {"x": 1}, 5), ("changed", "tool look", "output")),
    "inputs": ((2, 1, "tool", "look", {"x": 9}, 2), ("changed", "tool look", "inputs")),
}


@pytest.mark.parametrize(("step", "change"), CHANGES.values(), ids=CHANGES)
def test_changed_step_says_what_of_it_changed(step, change):
    assert changes(BASE, trace(ROOT, step, LM)) == [change]


def test_steps_that_came_and_went_are_told():
    new = (2, 1, "tool", "glance", {"x": 1}, 2)

    assert changes(BASE, trace(ROOT, new, LM)) == [
        ("added", "tool glance"),
        ("missing", "tool look"),
    ]


def test_another_model_is_a_change_of_the_same_step():
    other = trace(ROOT, LOOK, (3, 1, "lm", "other", {"prompt": "p"}, ["yes"]))

    assert changes(BASE, other) == [("changed", "lm other", "name")]


def test_order_of_branches_does_not_matter():
    one, two = (2, 1, "tool", "look", {"x": 1}, 1), (3, 1, "tool", "look", {"x": 2}, 2)
    turned = trace(ROOT, (2, 1, "tool", "look", {"x": 2}, 2), (3, 1, "tool", "look", {"x": 1}, 1))

    assert not trace(ROOT, one, two).diff(turned)


def test_what_is_inside_of_a_new_step_is_new_too():
    new = (4, None, "module", "Other", {}, 1)

    assert changes(BASE, trace(ROOT, LOOK, LM, new, (5, 4, "lm", "m", {}, []))) == [
        ("added", "module Other"), ("added", "lm m"),
    ]  # fmt: skip


def test_text_shows_the_tree_with_the_changes():
    after = trace(ROOT, (2, 1, "tool", "look", {"x": 1}, "é" * 200), LM)

    assert str(BASE.diff(after)).split("\n") == [
        "  module Agent",
        "~   tool look",
        f'      output: 2 → "{"é" * 99}…',
        "    lm m",
    ]


def test_secrets_are_not_in_the_text():
    secret = "sk-test-ABCDEF0123456789abcdef"
    after = trace(ROOT, (2, 1, "tool", "look", {"x": secret}, 2), LM)

    assert secret not in str(BASE.diff(after))
