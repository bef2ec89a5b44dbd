import re
from html.parser import HTMLParser

import pytest

from nbtool.tracing.record import SpanRecord
from nbtool.views.html import copy, static

PAYLOADS = {
    "image": "<img src=x onerror=window.__xss=1>",
    "script": "</pre></details><script>window.__xss=1</script>",
    "svg": "<svg/onload=alert(1)>",
    "frame": '"><iframe srcdoc="<script>1</script>">',
    "style": "<style>*{display:none}</style>",
    "link": "javascript:alert(1)",
    "markdown": "![x](http://127.0.0.1:1/leak)",
    "formula": "$\\href{javascript:alert(1)}{x}$",
    "comment": "</script><!--",
    "entity": "&lt;script&gt;",
    "escape": "\x1b]52;c;aGk=\x07\x1b[2J\x9b31m",
    "bidi": "\u202egnp.exe",
    "nul": "a\x00b",
    "surrogate": "\ud800",
    "long": "x" * 1_000_000,
    "lines": "\n" * 10_000,
}
ALLOWED = {"details", "summary", "ul", "li", "div", "p", "table", "tbody", "tr", "th", "td"}


def record(number, parent=None, kind="tool", status="ok", **more):
    values = {
        "id": number, "parent_id": parent, "kind": kind, "name": f"n{number}",
        "start_s": 10.0, "end_s": None if status == "running" else 12.0, "status": status,
    }  # fmt: skip
    return SpanRecord.from_json({**values, **more})


class Reader(HTMLParser):
    """Read HTML strictly: tags must close in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.attributes, self.words = [], set(), set(), []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return "\n".join(self.words)


TREE = [
    record(1, kind="module", name="QA", inputs={"question": "Why?"}, output={"answer": "So."}),
    record(2, 1, "predict", name="Predict"),
    record(3, 2, "adapter", name="ChatAdapter.format"),
    record(4, 2, "lm", name="gpt", output=["[[ ## answer ## ]] So."], cost_usd=0.25,
           usage={"prompt_tokens": 1_200, "completion_tokens": 5}),
    record(5, 1, "tool", name="look"),
]  # fmt: skip


def test_static_form_is_a_nested_tree_with_the_result_on_top():
    shown = Reader(static(TREE))

    assert shown.words[:2] == ["answer", "So."]
    assert shown.words[2] == "5 steps · 1 LM call · 1,200 → 5 tokens · $0.2500 · 2.00 s"
    assert "✓ gpt · lm · 2.00 s · 1,200 → 5 tokens" in shown.words
    assert "ChatAdapter" not in shown.text


def test_tree_of_a_run_that_went_well_is_folded_and_one_that_failed_is_open():
    failed = [record(1, status="error", error={"type": "ValueError", "message": "no"})]

    first = re.search("<details[^>]*>", static(TREE))

    assert first[0] == "<details>"
    assert static(failed).count("<details open") == 2
    assert "ValueError: no" in Reader(static(failed)).text


def test_one_click_on_the_tree_shows_all_its_steps():
    opened = re.findall("<details open><summary>. (\\w+)", static(TREE))

    assert opened == ["QA", "Predict"]  # what has steps below it


@pytest.mark.parametrize("payload", PAYLOADS.values(), ids=PAYLOADS)
def test_hostile_text_in_every_field_stays_text(payload):
    error = {"type": payload, "message": payload, "traceback": payload}
    given, turn = {payload: payload}, {"role": payload, "content": payload}
    spans = [
        record(1, kind="module", name=payload, inputs=given, output=given),
        record(2, 1, "lm", name=payload, inputs={"messages": [turn]}, output=[payload]),
        record(3, 1, name=payload, status="error", error=error),
        record(4, 1, status="running", inputs={"x": [payload] * 3}),
    ]  # fmt: skip
    shown = Reader(static(spans, saved="full", note=payload) + copy(spans))

    assert shown.tags <= ALLOWED
    assert shown.attributes <= {"style", "class", "open"}
    assert not set("\x00\x07\x1b\x9b\u202e\ud800") & set(shown.text)
    assert len(static(spans)) < 60_000


def test_html_is_read_where_a_site_takes_styles_and_classes_away():
    assert 'class="tex2jax_ignore' in static(TREE)
    assert Reader(static(TREE)).tags <= ALLOWED


SAVED = {"summary": 160, "full": 2_000}


@pytest.mark.parametrize(("saved", "chars"), SAVED.items())
def test_values_are_cut_to_what_shall_be_saved(saved, chars):
    longest = max(map(len, Reader(static([record(1, output="word " * 1_000)], saved=saved)).words))

    assert chars - 20 <= longest <= chars


def test_none_of_the_values_is_kept_where_none_shall_be_saved():
    text = Reader(static(TREE, saved="none")).text

    assert "Why?" not in text
    assert "5 steps" in text


def test_secret_is_not_in_the_static_form():
    key = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1L2m3N4"
    spans = [record(1, inputs={"api_key": key, "text": f"use {key}"}, output={"key": key})]

    assert key not in static(spans, saved="full")
    assert key[:20] not in static(spans, saved="full")


def test_trace_of_500_lm_calls_adds_less_than_200_kb():
    message = [{"role": "user", "content": "words " * 400}]
    spans = [record(1, kind="module")]
    for n in range(500):
        spans += [
            record(2 + 2 * n, 1, "predict", name=f"step {n}", inputs={"question": "why " * 50}),
            record(3 + 2 * n, 2 + 2 * n, "lm", inputs={"messages": message}, output=["so " * 200]),
        ]

    assert len(static(spans)) < 200_000
    assert "more rows" in Reader(static(spans)).text


def test_deep_tree_closes_everything():
    assert Reader(static([record(n, n - 1 or None) for n in range(1, 200)])).open == []
