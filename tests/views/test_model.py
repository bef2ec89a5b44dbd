import pytest

from nbtool.tracing.record import SpanRecord
from nbtool.views.model import _INVISIBLE, brief, one_line, rows


def record(number, parent=None, kind="tool", status="ok", **more):
    values = {
        "id": number, "parent_id": parent, "kind": kind, "name": f"n{number}",
        "start_s": 10.0, "end_s": None if status == "running" else 12.0, "status": status,
    }  # fmt: skip
    return SpanRecord.from_json({**values, **more})


def failed(message, kind="ValueError"):
    return {"status": "error", "error": {"type": kind, "message": message}}


def shape(spans, **options):
    return [(placed.row.id, placed.depth) for placed in rows(spans, **options)]


def only(span):
    (placed,) = rows([span])
    return placed.row


def chain(length):
    return [record(number, number - 1 or None) for number in range(1, length + 1)]


def test_parents_come_before_children_and_siblings_in_the_order_of_opening():
    spans = [record(1), record(2, 1), record(3), record(4, 1), record(5, 2)]

    assert shape(spans) == [(1, 0), (2, 1), (5, 2), (4, 1), (3, 0)]


def test_step_whose_parent_is_not_recorded_is_a_root():
    assert shape([record(7, 3), record(8, 7)]) == [(7, 0), (8, 1)]


def test_adapter_steps_are_hidden_and_their_children_take_their_place():
    spans = [record(1), record(2, 1, "adapter"), record(3, 2)]

    assert shape(spans) == [(1, 0), (3, 1)]
    assert shape(spans, plumbing=True) == [(1, 0), (2, 1), (3, 2)]


def test_adapter_step_that_failed_is_shown():
    assert shape([record(1, kind="adapter", **failed("no"))]) == [(1, 0)]


def test_depth_of_a_row_is_bounded_and_no_row_is_lost():
    found = shape(chain(2_000))

    assert len(found) == 2_000
    assert found[-1] == (2_000, 32)


@pytest.mark.parametrize("parents", [(2, 1), (1, 2)], ids=["circle", "own_parent"])
def test_impossible_parents_of_a_damaged_file_are_no_endless_loop(parents):
    assert shape([record(1, parents[0]), record(2, parents[1])]) == []


DURATIONS = {
    "finished": ({}, 2.0),
    "running": ({"status": "running"}, 10.0),
    "clock_went_back": ({"end_s": 9.0}, 0.0),
    "starts_in_the_future": ({"status": "running", "start_s": 30.0}, 0.0),
}


@pytest.mark.parametrize(("more", "duration_s"), DURATIONS.values(), ids=DURATIONS)
def test_duration_is_counted_to_the_end_or_to_now(more, duration_s):
    assert only(record(1, **more)).duration_s(20.0) == duration_s


GIVEN = {
    "named": ({"inputs": {"x": 1, "y": "a b"}}, "x=1, y=a b"),
    "nothing": ({}, ""),
    "json": ({"inputs": {"x": {"a": [1, None]}}}, 'x={"a": [1, null]}'),
    "last_message": (
        {"kind": "lm", "inputs": {"messages": [{"content": "first"}, {"content": "last"}]}},
        "last",
    ),
    "message_parts": (
        {"kind": "lm", "inputs": {"messages": [{"content": [{"text": "hi"}]}]}},
        '[{"text": "hi"}]',
    ),
    "message_text": ({"kind": "lm", "inputs": {"messages": ["hi"]}}, "hi"),
    "prompt": ({"kind": "lm", "inputs": {"prompt": "hi"}}, "hi"),
    "no_messages": ({"kind": "lm", "inputs": {"messages": []}}, ""),
    "line_ends": ({"inputs": {"x": "a\n\n b"}}, "x=a b"),
}


@pytest.mark.parametrize(("more", "text"), GIVEN.values(), ids=GIVEN)
def test_inputs_are_shown_in_short(more, text):
    assert only(record(1, **more)).given == text


GAVE = {
    "fields": ({"output": {"answer": "Paris", "n": 2}}, "answer=Paris, n=2"),
    "text": ({"output": "a\nb"}, "a b"),
    "nothing": ({}, ""),
    "zero": ({"output": 0}, "0"),
    "list": ({"output": [1, "a"]}, '[1, "a"]'),
    "first_answer": ({"kind": "lm", "output": ["Paris", "Rome"]}, "Paris"),
    "no_answer": ({"kind": "lm", "output": []}, "[]"),
    "error": (failed("no\nway", "a.b.MyError"), "MyError: no way"),
    "error_without_message": (failed(""), "ValueError:"),
    "running": ({"status": "running"}, ""),
}


@pytest.mark.parametrize(("more", "text"), GAVE.values(), ids=GAVE)
def test_outcome_is_shown_in_short(more, text):
    assert only(record(1, **more)).gave == text


def test_answer_that_arrives_is_shown_so_far():
    span = record(1, kind="lm", status="running")
    span.show_arriving(["Par", "is\n"])

    assert only(span).gave == "Paris"


def test_counts_are_shown_where_there_are_any():
    usage = {"prompt_tokens": 12, "completion_tokens": 5}
    row = only(record(1, kind="lm", usage=usage, cost_usd=0.5, attributes={"retries": 2}))

    assert (row.tokens, row.cost_usd, row.retries) == ((12, 5), 0.5, 2)
    assert only(record(1)).tokens is None


@pytest.mark.parametrize("retries", ["many", [1], {"a": 1}, None, "<redacted>"], ids=repr)
def test_retries_that_are_no_count_are_not_shown(retries):
    assert only(record(1, attributes={"retries": retries})).retries == 0


HOSTILE = {
    "escape": ("\x1b[31mred", "\\x1b[31mred"),
    "clipboard": ("\x1b]52;c;aGk=\x07", "\\x1b]52;c;aGk=\\x07"),
    "link": ("\x1b]8;;http://x\x1b\\y", "\\x1b]8;;http://x\\x1b\\y"),
    "c1": ("\x9b31m", "\\x9b31m"),
    "bidi": ("\u202eevil", "\\u202eevil"),
    "bidi_isolate": ("\u2066x", "\\u2066x"),
    "zero_width": ("a\u200bb", "a\\u200bb"),
    "byte_order": ("\ufeffa", "\\ufeffa"),
    "tag": ("\U000e0041", "\\U000e0041"),
    "nul": ("a\x00b", "a\\x00b"),
    "backspace": ("a\x08b", "a\\x08b"),
    "delete": ("a\x7fb", "a\\x7fb"),
    "lone_surrogate": ("a\ud800b", "a\\ud800b"),
    "line_separators": ("a\u2028b\u2029c\x85d\x0be", "a b c d e"),
    "carriage_return": ("good\rbad", "good bad"),
    "tab": ("a\tb", "a b"),
    "markup": ("[bold]x[/]", "[bold]x[/]"),
    "letters": ("é 語 🙂", "é 語 🙂"),
}


@pytest.mark.parametrize(("text", "shown"), HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_becomes_one_harmless_line(text, shown):
    assert one_line(text, 100) == shown


@pytest.mark.parametrize(
    "text", ["x" * 1_000_000, "\x1b" * 90, "\x1b" * 1_000_000, "a\n" * 10_000, "\U000e0041" * 50],
    ids=["long", "grows", "long_and_grows", "line_ends", "grows_most"],
)  # fmt: skip
def test_line_is_never_longer_than_its_limit(text):
    shown = one_line(text, 100)

    assert 50 <= len(shown) <= 100
    assert shown.endswith("…")


def test_text_of_exactly_the_limit_is_whole():
    assert one_line("x" * 100, 100) == "x" * 100


def test_text_behind_many_empty_lines_is_seen():
    assert one_line("\n" * 10_000 + "answer", 100) == "answer"


def test_name_of_a_row_is_bounded():
    assert len(only(record(1, name="\x1b" * 10_000)).name) == 256


def test_brief_text_of_odd_values_is_no_error():
    assert brief({"a": object}) == '{"a": "<class \'object\'>"}'
    assert brief("a") == "a"


def crowd(count, status_of=lambda number: "ok", **more):
    spans = [record(1, kind="module")]
    return spans + [
        record(n, 1, name="Predict", status=status_of(n), **more) for n in range(2, count + 2)
    ]


def test_many_siblings_of_one_kind_and_name_are_a_group_with_its_first_ones():
    assert shape(crowd(19)) == [(1, 0), *[(n, 1) for n in range(2, 21)]]
    assert shape(crowd(20)) == [(1, 0), (-2, 1), (2, 2), (3, 2), (4, 2)]


def test_group_shows_those_that_failed_or_run_and_counts_all():
    status = {5: "error", 700: "running", 900: "cancelled"}
    found = rows(crowd(1_000, lambda n: status.get(n, "ok")))
    group = found[1].row

    assert [placed.row.id for placed in found[2:]] == [2, 3, 4, 5, 700, 900]
    assert (group.name, group.status, group.end_s) == ("Predict × 1,000", "running", None)
    assert group.given == "1 running, 1 error, 1 cancelled, 997 ok"


def test_group_adds_tokens_and_prices_up():
    usage = {"prompt_tokens": 3, "completion_tokens": 1}
    group = rows(crowd(30, usage=usage, cost_usd=0.5))[1].row

    assert (group.tokens, group.cost_usd, group.end_s) == ((90, 30), 15.0, 12.0)


def test_siblings_of_other_names_stay_beside_a_group():
    spans = [*crowd(25), record(99, 1, name="extract")]

    assert shape(spans) == [(1, 0), (-2, 1), (2, 2), (3, 2), (4, 2), (99, 1)]


def test_group_at_the_top_holds_roots():
    roots = [record(n, name="Predict") for n in range(1, 31)]

    assert shape(roots)[:2] == [(-1, 0), (1, 1)]
    assert rows(roots)[0].row.parent_id is None


def test_no_invisible_sign_counts_as_printable():
    signs = [chr(code) for code in range(0x110000) if _INVISIBLE.match(chr(code))]

    assert len(signs) > 2_000
    assert not any(sign.isprintable() for sign in signs)
