import gc
import json
from collections import deque

import pytest

from nbtool.tracing.record import SpanRecord
from nbtool.views.feed import Feed
from nbtool.views.wire import encoded


def record(number, parent=None, kind="tool", status="ok", **more):
    values = {
        "id": number, "parent_id": parent, "kind": kind, "name": f"n{number}",
        "start_s": 10.0, "end_s": None if status == "running" else 12.0, "status": status,
    }  # fmt: skip
    return SpanRecord.from_json({**values, **more})


def told(feed, ui=None):
    message = feed.delta(ui)
    return None if message is None else (message[0], json.loads(message[1]))


def rows_of(feed):
    return json.loads(feed.snapshot({}))["rows"]


def replayed(deltas):
    """Apply deltas as a page does, and return the rows it has then."""
    rows = {}
    for _, delta in deltas:
        for row in delta.get("rows", ()):
            before = rows.get(row[0], [None] * 12)
            now = [old if new is None else new for old, new in zip(before, row, strict=True)]
            rows[row[0]] = [None if value is False else value for value in now]
            rows[row[0]][1] = row[1]
        for gone in delta.get("gone", ()):
            del rows[gone]
    return rows


@pytest.fixture
def feed():
    return Feed()


def test_nothing_new_is_no_message(feed):
    assert told(feed) is None
    assert feed.seq == 0


def test_step_is_told_whole_first_and_then_only_what_has_changed(feed):
    feed.take(record(1, status="running", inputs={"x": 1}))
    first, new = told(feed)
    feed.take(record(1, inputs={"x": 1}, output="done"))
    second, changed = told(feed)

    assert (first, second) == ({"t": "d", "from": 0, "to": 1}, {"t": "d", "from": 1, "to": 2})
    assert new["rows"] == [
        [1, None, "n1", "tool", 10.0, None, "running", "x=1", "", None, None, {}]
    ]
    none = [None] * 3
    assert changed["rows"] == [[1, None, *none, 12.0, "ok", None, "done", *none]]


def test_step_that_opened_and_ended_in_between_is_told_once(feed):
    feed.take(record(1, status="running"))
    feed.take(record(1))

    assert [row[6] for row in told(feed)[1]["rows"]] == ["ok"]


def test_value_that_is_gone_is_false(feed):
    feed.take(record(1, kind="lm", cost_usd=0.5))
    told(feed)
    feed.take(record(1, kind="lm"))

    assert told(feed)[1]["rows"][0][10] is False


def test_ui_is_told_where_it_is_given(feed):
    assert told(feed, {"title": "In [1]"})[1] == {"ui": {"title": "In [1]"}}


def test_twentieth_sibling_makes_a_group_and_moves_the_others(feed):
    parent = record(1, kind="module", status="running")
    deltas = []
    for step in [parent, *[record(n, 1, name="Predict") for n in range(2, 40)]]:
        feed.take(step)
        deltas.append(told(feed))
    rows = replayed(deltas)

    assert rows[-2][2:4] == ["Predict × 38", "group"]
    assert {rows[n][1] for n in range(2, 40)} == {-2}
    assert rows[-2][1] == 1


def test_siblings_that_come_at_once_are_a_group_at_once(feed):
    for n in range(1, 1_001):
        feed.take(record(n, name="Predict", status="running" if n == 7 else "ok"))
    rows = replayed([told(feed)])

    assert (rows[-1][2], rows[-1][6], rows[-1][7]) == (
        "Predict × 1,000", "running", "1 running, 999 ok",
    )  # fmt: skip
    feed.take(record(7, name="Predict", status="error"))
    assert told(feed)[1]["rows"][0][6:8] == ["error", "1 error, 999 ok"]


def crowd(feed, count=600, status="ok"):
    feed.take(record(1, status="running"))
    for number in range(2, count + 2):
        feed.take(record(number, 1, name="f", status=status, inputs={"x": number}, output="y"))
        if number % 50 == 0:
            yield told(feed)
    yield told(feed)


def test_steps_of_a_crowd_come_without_values_until_they_are_wanted(feed):
    deltas = list(crowd(feed))
    rows = replayed(deltas)
    given = [rows[number][7] for number in range(2, 602)]
    assert given[:99] == [f"x={number}" for number in range(2, 101)]
    assert set(given[160:]) == {""}
    assert not feed.has_more

    feed.want_all()
    assert feed.has_more
    while feed.has_more:
        deltas.append(told(feed))
        assert len(deltas[-1][1]["rows"]) <= 400
    feed.take(record(700, 1, name="f", inputs={"x": 700}))
    deltas.append(told(feed))

    rows = replayed(deltas)
    assert all(rows[number][7:9] == [f"x={number}", "y"] for number in range(2, 602))
    assert rows[700][7] == "x=700"
    assert {row[0]: row for row in rows_of(feed)} == rows
    assert told(feed) is None


def test_failed_step_of_a_crowd_tells_why(feed):
    error = {"type": "ValueError", "message": "lost"}
    list(crowd(feed))
    feed.take(record(700, 1, name="f", status="error", error=error))
    _, delta = told(feed)

    assert next(row for row in delta["rows"] if row[0] == 700)[8] == "ValueError: lost"


def test_step_that_began_before_the_crowd_keeps_what_it_told(feed):
    first = [record(number, 1, name="f", status="running", inputs={"x": 1}) for number in (2, 3)]
    for each in first:
        feed.take(each)
    deltas = [told(feed), *crowd(feed)]
    feed.take(record(3, 1, name="f", inputs={"x": 1}, output="z"))
    deltas.append(told(feed))

    assert replayed(deltas)[3][7:9] == ["x=1", "z"]


def test_page_that_was_told_all_deltas_has_what_a_snapshot_has(feed):
    deltas = []
    for n in range(1, 60):
        feed.take(record(n, n // 30 or None, name="same", status="running"))
        deltas += [told(feed)] if n % 7 == 0 else []
        feed.take(record(n, n // 30 or None, name="same", output=n))
    deltas.append(told(feed))

    assert replayed(deltas) == {row[0]: row for row in rows_of(feed)}


def test_totals_add_up_what_was_taken(feed):
    usage = {"prompt_tokens": 3, "completion_tokens": 2}
    lm = {"kind": "lm", "usage": usage, "cost_usd": 0.5}
    feed.take(record(1, kind="module", status="error", error={"type": "E", "message": "m"}))
    feed.take(record(2, 1, **lm, attributes={"cache_hit": True}))
    feed.take(record(3, 1, status="error", error={"type": "E", "message": "m"}))
    feed.take(record(4, 1, kind="lm", status="running"))
    totals = told(feed)[1]["totals"]

    assert totals == {
        "steps": 4, "lm_calls": 2, "tokens": [3, 2], "cost_usd": 0.5, "cached": 1, "errors": 2,
        "wall_s": 2.0, "lm_s": 2.0, "running": 1, "dropped": 0,
    }  # fmt: skip


def test_error_that_passed_through_its_parents_counts_once(feed):
    failed = {"status": "error", "error": {"type": "E", "message": "m"}}
    for n in (3, 2, 1):  # steps end from the inside out
        feed.take(record(n, n - 1 or None, **failed))

    assert told(feed)[1]["totals"]["errors"] == 1


def arriving(feed, number=1):
    pieces = []
    step = record(number, kind="lm", status="running")
    step.show_arriving(pieces)
    feed.take(step)
    return pieces


def test_text_that_arrives_is_told_piece_by_piece(feed):
    pieces = arriving(feed)
    pieces += ["The sky is", " blue and"]
    first = told(feed)[1]["text"]
    pieces.append(" wide.\n")

    assert first == [[1, 0, "The sky is blue "]]
    assert told(feed)[1]["text"] == [[1, 16, "and wide.\n"]]
    assert json.loads(feed.snapshot({}))["text"] == [[1, 0, "The sky is blue and wide.\n"]]


def test_answer_that_has_ended_is_told_as_output_and_no_more_as_text(feed):
    arriving(feed).append("The sky ")
    told(feed)
    feed.take(record(1, kind="lm", output=["The sky is blue."]))
    last = told(feed)[1]

    assert (last["rows"][0][8], "text" in last) == ("The sky is blue.", False)
    assert feed.waits_for_text is False


def test_oldest_steps_that_have_ended_make_room():
    feed = Feed(max_rows=3)
    for n in range(1, 6):
        feed.take(record(n, status="running" if n == 1 else "ok"))
    told_once = told(feed)[1]

    assert told_once["gone"] == [2, 3]
    assert [row[0] for row in rows_of(feed)] == [1, 4, 5]
    assert [step.id for step in feed.records] == [1, 4, 5]
    feed.take(record(6))
    assert told(feed)[1]["totals"]["dropped"] == 2


def test_steps_that_have_gone_are_forgotten_altogether():
    feed = Feed(max_rows=50)
    before = alive()
    for root in range(0, 3_000, 3):
        failed = {"type": "E", "message": "m"}
        for each in (record(root + 1), record(root + 2, root + 1, status="error", error=failed),
                     record(root + 3, root + 1)):  # fmt: skip
            feed.take(each)
        feed.delta()

    assert alive() - before < 100
    assert max(len(each) for each in containers(feed)) < 100


def alive():
    gc.collect()
    return sum(isinstance(each, SpanRecord) for each in gc.get_objects())


def containers(feed):
    """Give all that a feed keeps things in."""
    waiting, seen = [vars(feed)], set()
    while waiting:
        for each in waiting.pop().values():
            if isinstance(each, dict | set | list | deque):
                yield each
            elif type(each).__module__ == "nbtool.views.feed" and id(each) not in seen:
                seen.add(id(each))
                waiting.append(vars(each))


@pytest.mark.parametrize("text", ["\ud800", "\x00", "</script>", "😀", "\u2028"])
def test_every_text_can_be_written_and_read(text):
    assert json.loads(encoded({"text": text})) == {"text": text}


def test_what_json_lacks_is_no_message():
    with pytest.raises(ValueError, match="JSON"):
        encoded(float("nan"))
