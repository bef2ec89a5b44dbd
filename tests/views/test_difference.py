"""Two traces side by side in a notebook."""

from __future__ import annotations

import nbtool
from nbtool.tracing.comparison import Difference
from nbtool.tracing.record import SpanRecord
from nbtool.views.difference import side_by_side


def steps(*outputs):
    """Make the records of a module that calls a tool once for each output."""
    times = {"start_s": 0.0, "end_s": 1.0, "status": "ok"}
    root = SpanRecord(
        id=1, parent_id=None, kind="module", name="Agent", _inputs={}, _output=None, **times
    )
    return [root] + [
        SpanRecord(
            id=n, parent_id=1, kind="tool", name="look", _inputs={"n": n}, _output=output, **times
        )
        for n, output in enumerate(outputs, 2)
    ]


def test_what_changed_is_set_off_and_texts_stay_texts():
    drawn = side_by_side(Difference(steps("a <b>cold</b> day"), steps("a <b>warm</b> day")))

    assert "1 of 2 steps differ" in drawn
    assert "a &lt;b&gt;<del>cold</del>&lt;/b&gt; day" in drawn
    assert "a &lt;b&gt;<ins>warm</ins>&lt;/b&gt; day" in drawn


def test_of_very_many_steps_those_that_changed_are_shown_and_the_rest_counted():
    before, after = steps(*range(1_000)), steps(*["no"] * 1_000)

    assert side_by_side(Difference(before, after)).count("<del>") == 200
    assert "… and 800 more" in side_by_side(Difference(before, after))
    assert side_by_side(Difference(before, before)).count("<tr>") == 1


def test_step_that_only_one_trace_has_stands_alone():
    drawn = side_by_side(Difference(steps(1), steps(1, 2)))

    assert "+ · tool look" in drawn
    assert "1 of 3 steps differ" in drawn


def test_notebook_shows_it():
    tool = nbtool.Tool(lambda text: text.upper(), name="shout")
    tool(text="abc")
    first = nbtool.last_trace()
    tool(text="abd")

    assert "<ins>" in first.diff(nbtool.last_trace())._repr_html_()
