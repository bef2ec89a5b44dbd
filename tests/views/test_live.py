"""A live view on a real loop, with a screen that writes down what it is told to show."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json
import threading

import pytest

import nbtool
from nbtool.tracing import process  # noqa: F401 - it makes the records that views show
from nbtool.tracing.boundary import current_span, install, traced, uninstall
from nbtool.views.live import LiveView

pytestmark = pytest.mark.asyncio


class Page:
    """Be the page's side."""

    greeted = False

    def __init__(self):
        self.view = {"widget": True}
        self.messages, self.kept, self.closed = [], [], False

    def tell(self, message, buffer=None):
        self.messages.append((message, json.loads(buffer) if buffer else None))

    def keep(self, snapshot):
        self.kept.append(json.loads(snapshot))

    def close(self):
        self.closed = True


class Screen:
    """Write down what is shown."""

    def __init__(self, loop, *, widgets=True):
        self.loop, self.context = loop, contextvars.copy_context()
        self.widgets, self.pages, self.log = widgets, [], []

    def page(self, view):
        if self.widgets:
            self.pages.append(Page())
        return self.pages[-1] if self.widgets else None

    def show(self, bundle, display_id):
        self.log.append(("show", display_id, bundle))

    def update(self, bundle, display_id):
        self.log.append(("update", display_id, bundle))

    def serving(self):
        return contextlib.nullcontext()

    @property
    def forms(self):
        return [
            (what, "live" if "widget" in bundle else "static")
            for what, display_id, bundle in self.log
            if not display_id.endswith("copy")
        ]


class EachRoot:
    """Attach a view to each root call."""

    def __init__(self, view):
        self.view = view

    def opened(self, span):
        if span.parent is None:
            self.view.attach(span.run)
            self.view.opened(span)

    def closed(self, span):
        pass


@pytest.fixture
async def screen():
    return Screen(asyncio.get_running_loop())


@pytest.fixture
async def view(screen):
    shown = LiveView(screen, "In [1]")
    watcher = EachRoot(shown)
    install(watcher)
    yield shown
    uninstall(watcher)


async def step(s=0.0, error=None, name="step"):
    async def work():
        await asyncio.sleep(s)
        if error:
            raise error
        return "done"

    return await traced("tool", name, work, {})


async def eventually(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what a screen shows sets no event
            await asyncio.sleep(0.01)


async def test_call_that_takes_a_moment_is_shown_and_then_static(view, screen):
    await step(0.3)
    assert screen.forms == [("show", "live")]
    await eventually(lambda: len(screen.forms) == 2)

    assert screen.forms == [("show", "live"), ("update", "static")]
    assert screen.pages[0].closed
    assert len({display_id for _, display_id, _ in screen.log}) == 1


async def test_short_calls_that_succeed_are_not_shown(view, screen):
    for _ in range(30):
        await step(0.01)
    await asyncio.sleep(0.3)

    assert screen.log == []


async def test_short_call_that_fails_is_shown(view, screen):
    with pytest.raises(ValueError, match="no"):
        await step(error=ValueError("no"))
    await eventually(lambda: len(screen.forms) == 2)

    assert "ValueError: no" in screen.log[-1][2]["text/html"]


async def test_page_is_told_everything_in_order(view, screen):
    async def parent():
        await step(0.2, name="child")

    await traced("module", "parent", parent, {})
    await eventually(lambda: screen.forms[-1:] == [("update", "static")])
    deltas = [told for told, _ in screen.pages[0].messages]
    rows = [row for _, part in screen.pages[0].messages for row in part.get("rows", ())]

    assert [(d["from"], d["to"]) for d in deltas] == [(n, n + 1) for n in range(len(deltas))]
    assert [row[2] for row in rows if row[2]] == ["parent", "child"]
    assert [row[6] for row in rows if row[6]] == ["running", "running", "ok", "ok"]


async def test_next_call_of_the_cell_makes_the_static_form_live_again(view, screen):
    await step(0.2)
    await eventually(lambda: len(screen.forms) == 2)
    await step(0.2)
    await eventually(lambda: len(screen.forms) == 4)

    assert [form for _, form in screen.forms] == ["live", "static", "live", "static"]
    assert [what for what, _ in screen.forms] == ["show", "update", "update", "update"]


async def test_calls_one_after_another_share_one_output(view, screen):
    for _ in range(4):
        await step(0.2)
    await eventually(lambda: screen.forms[-1] == ("update", "static"))

    assert [what for what, _ in screen.forms] == ["show", "update"]


async def test_without_widgets_the_html_is_drawn_anew(view, screen):
    screen.widgets = False
    await step(1.2)
    await eventually(lambda: "done" in screen.log[-1][2]["text/html"])

    assert {form for _, form in screen.forms} == {"static"}
    assert len(screen.forms) > 3


async def test_calls_of_other_threads_are_shown_too(view, screen):
    thread = threading.Thread(target=lambda: asyncio.run(step(0.4)))
    thread.start()
    await eventually(lambda: screen.forms == [("show", "live"), ("update", "static")])
    thread.join()


async def test_answer_is_told_while_it_arrives(view, screen):
    async def answer():
        span = current_span()
        for word in ["The", "sky", "is", "blue.", ""]:
            span.arrive(f"{word} ")
            await asyncio.sleep(0.1)
        return ["The sky is blue."]

    await traced("lm", "gpt", answer, {})
    texts = [t for _, part in screen.pages[0].messages for t in part.get("text", ())]

    assert "".join(text for _, _, text in texts)[:12] == "The sky is b"
    assert len(texts) > 1


async def test_page_that_says_hello_gets_all_of_it(view, screen):
    task = asyncio.create_task(step(0.5))
    await eventually(lambda: screen.pages)
    view.heard({"t": "hello", "have": 0})
    message, snapshot = screen.pages[0].messages[-1]
    await task

    assert message == {"t": "s"}
    assert [row[2] for row in snapshot["rows"]] == ["step"]
    assert [button["cmd"] for button in snapshot["ui"]["buttons"]] == ["pause", "stop"]


async def test_page_that_has_not_answered_gets_snapshots_to_keep(view, screen):
    async def many():
        for _ in range(10):
            await step(0.1)

    await traced("module", "many", many, {})

    assert 1 <= len(screen.pages[0].kept) <= 4
    assert screen.pages[0].kept[0]["rows"]


async def test_click_on_a_row_gets_the_step_in_full(view, screen):
    await step(0.2)
    number = view.snapshot() and json.loads(view.snapshot())["rows"][0][0]
    view.heard({"t": "detail", "id": number})
    message, found = screen.pages[0].messages[-1]

    assert message["id"] == number
    assert [s["title"] for s in found["sections"]] == ["Result", "Facts"]
    assert found["python"] == "step()"


@pytest.mark.parametrize(
    "message",
    [{}, {"t": "cmd"}, {"t": "cmd", "cmd": "rm -rf"}, {"t": "detail", "id": "x"}, {"t": 3}],
)
async def test_message_that_nobody_knows_is_left_alone(view, screen, message):
    await step(0.2)
    before = len(screen.pages[0].messages)
    view.heard(message)

    assert len(screen.pages[0].messages) == before


async def test_stop_cancels_the_calls_that_are_shown(view, screen):
    class Slow(nbtool.Module):
        async def aforward(self):
            await asyncio.sleep(30)

    task = asyncio.create_task(Slow().acall())
    other = asyncio.create_task(step(30))
    await eventually(lambda: screen.pages)
    view.heard({"t": "cmd", "cmd": "stop"})
    await asyncio.wait([task, other], timeout=5)

    assert (task.cancelled(), other.cancelled()) == (True, True)


async def test_long_call_gets_a_copy_that_goes_when_it_ends(view, screen, monkeypatch):
    monkeypatch.setattr("nbtool.views.live._STATIC_AFTER_S", 0.3)
    monkeypatch.setattr("nbtool.views.live._STATIC_EVERY_S", 0.3)

    async def ticking():
        for _ in range(12):
            await step(0.1)

    await traced("module", "ticking", ticking, {})
    await eventually(lambda: screen.forms[-1] == ("update", "static"))
    copies = [(w, b["text/html"]) for w, number, b in screen.log if number.endswith("copy")]

    assert [what for what, _ in copies][:2] == ["show", "update"]
    assert "A copy of the trace" in copies[0][1]
    assert copies[-1] == ("update", "")


async def test_long_call_that_tells_nothing_gets_a_copy_too(view, screen, monkeypatch):
    monkeypatch.setattr("nbtool.views.live._STATIC_AFTER_S", 0.3)
    await step(1)
    copies = [what for what, _, bundle in screen.log if "A copy of" in bundle["text/html"]]

    assert copies == ["show"]


async def test_view_of_a_call_that_runs_begins_with_what_it_has_done(screen):
    inside = asyncio.Event()

    async def parent():
        await step(name="early")
        inside.set()
        await step(0.3, name="late")

    task = asyncio.create_task(traced("module", "parent", parent, {}))
    await inside.wait()
    shown = LiveView(screen, "In [2]")
    trace = nbtool.last_trace()
    shown.take_up(trace.spans)
    shown.reveal()
    rows = json.loads(shown.snapshot())["rows"]
    await task

    assert [row[2] for row in rows][:2] == ["parent", "early"]


async def test_view_takes_its_last_form_when_its_cell_ends(view, screen):
    await step(0.2)
    view.cell_ended()

    assert screen.forms == [("show", "live"), ("update", "static")]


async def test_short_call_that_failed_is_shown_when_its_cell_ends(view, screen):
    with pytest.raises(ValueError, match="no"):
        await step(error=ValueError("no"))
    view.cell_ended()
    await asyncio.sleep(0.6)

    assert screen.forms == [("show", "live"), ("update", "static")]


async def test_view_of_a_call_that_runs_stays_live_when_its_cell_ends(view, screen):
    task = asyncio.create_task(step(0.5))
    await eventually(lambda: screen.pages)
    view.cell_ended()
    forms = screen.forms
    await task

    assert forms == [("show", "live")]


async def test_widget_stays_where_the_page_was_reloaded(view, screen):
    task = asyncio.create_task(step(0.4))
    await eventually(lambda: screen.pages)
    for name in ("first", "first", "second"):
        view.heard({"t": "hello", "have": 0, "page": name})
    await task
    await asyncio.sleep(0.7)
    last = json.loads(view.snapshot())["ui"]

    assert screen.forms == [("show", "live")]
    assert not screen.pages[0].closed
    assert last["state"] == "ended"
    assert f"nbtool.show({view.number})" in last["notice"]


async def test_view_that_is_opened_again_stays_until_it_is_closed(view, screen):
    await step(0.2)
    view.cell_ended()
    other = Screen(asyncio.get_running_loop())
    again = view.again_on(other)
    again.reveal()
    await asyncio.sleep(0.6)
    shown, rows = other.forms, json.loads(again.snapshot())["rows"]
    again.heard({"t": "cmd", "cmd": "close"})

    assert shown == [("show", "live")]
    assert [row[2] for row in rows] == ["step"]
    assert other.forms == [("show", "live"), ("update", "static")]
