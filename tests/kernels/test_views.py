"""Live views in real kernels, as a front end gets them."""

from __future__ import annotations

import time

import pytest

pytestmark = pytest.mark.kernel

VIEW = "application/vnd.jupyter.widget-view+json"
STEPS = """
class Slow(nbtool.Module):
    async def aforward(self, s=0.6):
        await asyncio.sleep(s)
        return "done"

class Failing(nbtool.Module):
    async def aforward(self):
        raise ValueError("lost <b>")

slow, failing = Slow(), Failing()
nbtool.configure(show_trace="auto")
"""
WAYS = {
    "await": "await slow.acall({})",
    "call": "slow({})",
    "background": "call = slow.acall({})",
    "gather": "await asyncio.gather(slow.acall({}))",
}


@pytest.fixture
def page(notebook):
    made = notebook.run(STEPS)
    assert made.status == "ok", made.traceback
    return notebook


def submit(page, code):
    return page.outputs_of(page.submit(code))


def shown(page, cell, timeout_s=5):
    """Wait for the first output of a cell's view."""
    page.wait_until(lambda: cell.displays, timeout_s=timeout_s, waiting_for="a view")
    return cell.displays[0]


def settled(page, cell, timeout_s=8):
    page.wait_until(
        lambda: cell.ended and cell.displays and VIEW not in cell.displays[0].data,
        timeout_s=timeout_s,
        waiting_for="the static form",
    )
    return cell.displays[0].data


@pytest.mark.parametrize("way", WAYS)
def test_long_call_is_shown_while_it_runs_and_leaves_the_static_form(page, way):
    cell = submit(page, WAYS[way].format("s=1"))

    assert VIEW in shown(page, cell).data
    data = settled(page, cell)

    assert len(cell.displays) == 1
    assert "Slow" in data["text/html"]
    assert "<script" not in data["text/html"]
    assert "Slow" in data["text/plain"]


def test_call_that_is_over_in_a_moment_is_not_shown(page):
    cell = page.run("slow(s=0.01)")
    time.sleep(0.5)

    assert page.outputs_of(cell.msg_id).displays == []


def test_call_that_fails_is_shown_however_short(page):
    cell = submit(page, "failing()")
    data = settled(page, cell)

    assert "lost &lt;b&gt;" in data["text/html"]
    assert "Failing [module] error" in data["text/plain"]


def test_many_calls_of_one_cell_have_one_view(page):
    cell = submit(page, "for _ in range(200): slow(s=0.004)\nslow(s=0.3)")
    data = settled(page, cell)

    assert len(cell.displays) == 1
    assert "Slow × 201" in data["text/html"]


def test_setting_shows_every_call_or_none(page):
    never = page.run("nbtool.configure(show_trace='never')\nslow(s=0.4)")
    always = submit(page, "nbtool.configure(show_trace='always')\nslow(s=0.01)")
    settled(page, always)

    assert page.outputs_of(never.msg_id).displays == []
    assert len(always.displays) == 1


def test_call_as_the_last_expression_shows_itself_while_it_runs(page):
    cell = submit(page, "call = slow.acall(s=1)\ncall")

    assert VIEW in shown(page, cell).data
    settled(page, cell)
    again = page.run("call")

    assert len(cell.displays) == 1
    assert "Slow" in again.displays[0].data["text/html"]
    assert again.displays[0].data["text/plain"].startswith("<Call Slow: done")


def test_call_as_the_last_expression_stands_in_its_cell_however_short(page):
    cell = page.run("call = slow.acall(s=0.02)\ncall")

    assert len(cell.displays) == 1
    assert "Slow" in settled(page, cell)["text/html"]


def test_printed_trace_is_text_and_nothing_else(page):
    cell = page.run("slow(s=0.01)\nprint(nbtool.last_trace())")

    assert "Slow" in cell.stdout
    assert cell.displays == []


def test_magic_shows_calls_that_would_be_too_short(page):
    cell = submit(page, "%%trace\nx = slow(s=0.01)\nx")
    settled(page, cell)

    assert cell.result_text == "'done'"
    assert len(cell.displays) == 1


def test_magic_runs_top_level_await_and_shows_errors_once(page):
    good = page.run("%%trace\nawait slow.acall(s=0.01)")
    bad = page.run("%%trace\nawait failing.acall()")

    assert good.result_text == "'done'"
    assert bad.error_name == "ValueError"
    assert bad.traceback.count("ValueError: lost") == 1
    assert bad.stdout + bad.stderr == ""
    assert sum(m["header"]["msg_type"] == "error" for m in bad.messages) == 1


def test_magic_shows_the_line_of_an_error_in_the_grammar(page):
    bad = page.run("%%trace\nx = 1\nx = = 2")

    assert bad.error_name == "SyntaxError"
    assert "x = = 2" in bad.traceback
    assert sum(m["header"]["msg_type"] == "error" for m in bad.messages) == 1
    assert page.run("1/0").error_name == "ZeroDivisionError"


def test_with_trace_shows_calls_that_would_be_too_short(page):
    cell = submit(page, "with nbtool.trace() as t: slow(s=0.01)")
    settled(page, cell)

    assert page.run("len(t.spans)").result_text == "1"


def test_later_cell_watches_a_call_that_runs(page):
    first = page.run("nbtool.configure(show_trace='never')\ncall = slow.acall(s=1.5)")
    cell = submit(page, "nbtool.watch(call)")

    assert VIEW in shown(page, cell).data
    assert "Slow" in settled(page, cell)["text/html"]
    assert page.outputs_of(first.msg_id).displays == []


def test_program_is_watched_from_then_on(page):
    page.run("nbtool.configure(show_trace='never')")
    cell = submit(page, "nbtool.watch(slow)")
    page.run("slow(s=0.3)\nslow(s=0.01)")
    data = settled(page, cell)

    assert data["text/plain"].count("Slow") == 2


def test_ended_view_opens_again_in_the_cell_that_asks_until_it_is_closed(page):
    cell = submit(page, "slow(s=0.3)")
    number = settled(page, cell)["text/html"].partition("nbtool.show(")[2].partition(")")[0]
    again = submit(page, f"nbtool.show({number})")
    model = shown(page, again).data[VIEW]["model_id"]
    close = {"method": "custom", "content": {"t": "cmd", "cmd": "close"}}
    page.send("comm_msg", {"comm_id": model, "data": close})

    assert "Slow" in settled(page, again)["text/html"]


@pytest.mark.parametrize("way", WAYS)
def test_stop_ends_the_calls_of_the_view_at_once(page, way):
    cell = submit(page, WAYS[way].format("s=20"))
    model = shown(page, cell).data[VIEW]["model_id"]
    stop = {"method": "custom", "content": {"t": "cmd", "cmd": "stop"}}
    page.send("comm_msg", {"comm_id": model, "data": stop})
    began_s = time.monotonic()
    page.wait_until(lambda: cell.ended, timeout_s=10)
    settled(page, cell)

    assert time.monotonic() - began_s < 10
    assert page.run("nbtool.running()").result_text == "[]"


@pytest.mark.parametrize("way", ["await", "call"])
def test_stopped_call_ends_its_cell_in_one_line(page, way):
    stop = "threading.Timer(0.3, nbtool.stop).start()\n"
    cell = page.run(stop + WAYS[way].format("s=20"))

    assert cell.traceback == "CancelledError: Slow was cancelled."


@pytest.mark.parametrize(
    "message",
    [
        {"t": "cmd", "cmd": "rm -rf"},
        {"t": "cmd"},
        {"t": "detail", "id": "1"},
        {"t": "detail", "id": 10**30},
        {"t": "detail", "id": None},
        {"t": ["hello"]},
        {},
        {"t": "hello", "have": "x"},
        [1],
        "text",
    ],
    ids=str,
)
def test_message_that_makes_no_sense_changes_nothing(page, message):
    cell = submit(page, "slow(s=1)")
    model = shown(page, cell).data[VIEW]["model_id"]
    data = {"method": "custom", "content": message}
    page.send("comm_msg", {"comm_id": model, "data": data})
    settled(page, cell)

    assert cell.status == "ok"
    assert "Traceback" not in cell.stderr


def test_without_widgets_the_view_is_html_that_is_replaced(page):
    cell = submit(page, "import os\nos.environ['NBTOOL_WIDGETS'] = '0'\nslow(s=1.2)")
    first = dict(shown(page, cell).data)
    page.wait_until(lambda: cell.ended, timeout_s=10)
    page.run("del os.environ['NBTOOL_WIDGETS']")
    page.wait_until(lambda: cell.displays[0].updates >= 2, timeout_s=5)

    assert set(first) == {"text/plain", "text/html"}
    assert "Slow" in cell.displays[0].data["text/html"]


def test_restored_kernel_shows_nothing(page):
    page.run("nbtool.restore()")
    cell = page.run("import asyncio\nawait slow.acall(s=0.4)")
    magic = page.run("%%trace\n1")
    page.run("%load_ext nbtool")
    back = submit(page, "await slow.acall(s=0.4)")
    settled(page, back)

    assert page.outputs_of(cell.msg_id).displays == []
    assert magic.status == "error" or "not found" in magic.stderr


def test_secret_of_the_environment_is_in_no_message(page):
    cell = submit(
        page,
        "import os\nos.environ['PROBE_API_KEY'] = 'sk-probe-0123456789abcdef'\n"
        "@nbtool.traced\nasync def told(text): await asyncio.sleep(0.6); return text\n"
        "with nbtool.trace(): x = await told(os.environ['PROBE_API_KEY'])",
    )
    settled(page, cell)

    said = repr([(m["content"], [bytes(b) for b in m.get("buffers", ())]) for m in cell.messages])
    assert "told" in said
    assert "0123456789abcdef" not in said.replace(repr(cell.code), "").replace(cell.code, "")
