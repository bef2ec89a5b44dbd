import io
import time

import pytest
from rich.console import Console

from nbtool.tracing.record import SpanRecord
from nbtool.views.text import plain, tree
from nbtool.views.wording import seconds


def record(number, parent=None, kind="tool", name="step", status="ok", **more):
    values = {
        "id": number, "parent_id": parent, "kind": kind, "name": name, "start_s": 10.0,
        "end_s": None if status == "running" else 12.0, "status": status,
    }  # fmt: skip
    return SpanRecord.from_json({**values, **more})


def on_terminal(spans, now_s=20.0, width=100):
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=width, color_system="truecolor")
    console.print(tree(spans, now_s=now_s))
    return screen.getvalue()


CALL = [
    record(1, kind="module", name="QA", inputs={"question": "Capital of France?"},
           output={"answer": "Paris"}),
    record(2, 1, "lm", "openai/m", inputs={"messages": [{"role": "user", "content": "hi"}]},
           output=["Paris"], usage={"prompt_tokens": 1200, "completion_tokens": 5}, cost_usd=0.001,
           attributes={"retries": 1}),
    record(3, 1, "adapter", "Chat.parse"),
    record(4, 3, "tool", "search", "error", inputs={"q": "x"},
           error={"type": "a.b.ValueError", "message": "no\nway"}),
    record(5, None, "tool", "wait", "cancelled"),
]  # fmt: skip

DRAWN = """\
trace  5 steps · 1 LM call · 1,200 → 5 tokens · $0.0010 · 1 error · 2.00 s
├── ✓ QA  module  2.00 s  question=Capital of France?
│   answer=Paris
│   ├── ✓ openai/m  lm  2.00 s  1,200 → 5 tokens  sent 2 times
│   │   Paris
│   └── ✗ search  tool  2.00 s  q=x
│       ValueError: no way
└── ◌ wait  tool  2.00 s"""


def test_plain_tree_can_be_read():
    assert plain(CALL) == DRAWN


def test_plain_tree_of_nothing_is_a_line_of_totals():
    assert plain([]) == "trace  0 steps · 0 LM calls"


def test_terminal_shows_colours_and_the_same_words():
    shown = on_terminal(CALL)

    assert "\x1b[" in shown
    assert "Capital of France?" in shown


@pytest.mark.parametrize(("now_s", "icon"), [(20.0, "●"), (20.6, "○")])
def test_running_step_blinks(now_s, icon):
    assert icon in on_terminal([record(1, status="running")], now_s)


PAYLOADS = {
    "colour": "\x1b[31mred\x1b[0m",
    "clipboard": "\x1b]52;c;aGVsbG8=\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\",
    "title": "\x1b]0;owned\x07",
    "c1": "\x9b31mred",
    "c1_osc": "\x9d52;c;aGk=\x9c",
    "bidi": "\u202egnp.exe",
    "nul": "a\x00b",
    "lone_surrogate": "a\ud800b",
    "carriage_return": "good\rbad",
    "backspace": "good\x08\x08bad",
}
PLACES = {
    "name": lambda text: {"name": text},
    "input": lambda text: {"inputs": {"x": text}},
    "input_name": lambda text: {"inputs": {text: 1}},
    "output": lambda text: {"output": text},
    "answer": lambda text: {"kind": "lm", "output": [text]},
    "nested": lambda text: {"output": {"a": [{"b": text}]}},
    "error": lambda text: {"status": "error", "error": {"type": "E", "message": text}},
    "error_type": lambda text: {"status": "error", "error": {"type": text, "message": "no"}},
    "arrived": lambda text: {"kind": "lm", "status": "running"},
}


@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_payload_reaches_no_terminal(payload, place):
    span = record(1, **place(payload))
    span.show_arriving([payload])

    shown = plain([span])

    assert not set(shown) & set("\x00\x07\x08\x0d\x1b\x9b\x9c\x9d\u202e\ud800")
    shown.encode("utf-8")


@pytest.mark.parametrize("payload", ["[bold]x[/]", "[/]", "[link=http://a]b[/link]", ":smile:"])
def test_markup_is_shown_as_it_is(payload):
    span = record(1, name=f"n {payload}", inputs={"x": payload}, output=payload)

    assert plain([span]).count(payload) == 3


@pytest.mark.parametrize("text", ["x" * 1_000_000, "line\n" * 10_000], ids=["line", "lines"])
def test_long_text_takes_a_few_lines_only(text):
    shown = plain([record(1, inputs={"x": text}, output=text)])

    assert len(shown) < 1_000
    assert len(shown.splitlines()) < 8


@pytest.mark.parametrize("width", [80, 120])
def test_every_step_of_a_deep_call_is_shown_on_lines_of_its_own(width):
    spans = [record(i, i - 1 or None, name=f"step{i:03}", output="done") for i in range(1, 201)]

    shown = on_terminal(spans, width=width)

    assert [f"step{i:03}" in shown for i in range(1, 201)] == [True] * 200
    assert shown.count("done") == 200


def test_depth_that_is_not_drawn_is_told():
    spans = [record(i, i - 1 or None, name=f"step{i}") for i in range(1, 21)]

    last = plain(spans).splitlines()[-1]

    assert "step20  tool  2.00 s  depth 19" in last


def test_large_trace_is_drawn_in_acceptable_time():
    spans = [record(i, 1 if i > 1 else None, output="x" * 200) for i in range(1, 301)]
    started = time.perf_counter()

    plain(spans)

    assert time.perf_counter() - started < 5


@pytest.mark.parametrize(
    ("duration_s", "text"),
    [
        (0, "0 ms"), (0.0004, "0 ms"), (0.85, "850 ms"), (0.9996, "1.00 s"), (1, "1.00 s"),
        (2.414, "2.41 s"), (59.99, "59.99 s"), (59.999, "1 min 0 s"), (60, "1 min 0 s"),
        (119.7, "2 min 0 s"), (200, "3 min 20 s"), (3725, "62 min 5 s"),
    ],
)  # fmt: skip
def test_duration_has_a_unit_that_suits_it(duration_s, text):
    assert seconds(duration_s) == text
