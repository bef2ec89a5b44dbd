import pytest

from nbtool.tracing.record import SpanRecord
from nbtool.views.markdown import escaped, summary


def record(number, parent=None, **more):
    values = {"id": number, "parent_id": parent, "kind": "tool", "name": "look",
              "start_s": 10.0, "end_s": 12.0, "status": "ok"}  # fmt: skip
    return SpanRecord.from_json({**values, **more})


def test_trace_is_a_nested_list():
    spans = [record(1, name="QA"), record(2, 1, output="grey")]

    assert summary(spans).splitlines() == [
        "**trace** 2 steps · 0 LM calls · 2.00 s",
        "",
        "- ✓ **QA** tool · 2.00 s",
        "  - ✓ **look** tool · 2.00 s · grey",
    ]


@pytest.mark.parametrize(
    "text", ["*b*", "[x](http://a)", "<b>", "`c`", "# h", "$x$", "a|b", "!", "\\", "~~"]
)
def test_what_markdown_would_read_is_escaped(text):
    shown = escaped(text)

    assert shown != text
    assert all(shown[i - 1] == "\\" for i, c in enumerate(shown) if c in "*[]<>`#$|!~()")


def test_long_trace_is_cut():
    spans = [record(n, name=f"n{n}") for n in range(1, 300)]

    assert summary(spans).splitlines()[-1] == "- … and 99 more"
