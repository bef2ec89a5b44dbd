"""A live view as a client of debuggers: what its page is told, and what it may ask."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import json

import pytest

import nbtool
from nbtool.views.live import LiveView

pytestmark = pytest.mark.asyncio


class Page:
    """Be the page's side."""

    greeted = True

    def __init__(self):
        self.view, self.ui, self.paused, self.answers = {}, {}, {}, []

    def tell(self, message, buffer=None):
        body = json.loads(buffer) if buffer else {}
        if message["t"] == "d":
            self.ui = body.get("ui", self.ui)
            for row in body.get("rows", ()):
                if row[11] is not None:
                    self.paused[row[0]] = (row[11] or {}).get("paused")
        else:
            self.answers.append((message, body))

    def keep(self, snapshot):
        pass

    def close(self):
        pass


class Screen:
    """Have one page."""

    def __init__(self):
        self.loop, self.context = asyncio.get_running_loop(), contextvars.copy_context()
        self.only = Page()

    def page(self, view):
        return self.only

    def show(self, bundle, display_id):
        pass

    update = show

    def serving(self):
        return contextlib.nullcontext()


class Shown:
    """A chain below a view, and the page that a person looks at."""

    def __init__(self, call, **options):
        screen = Screen()
        self.page, self.view = screen.only, LiveView(screen, "In [1]")
        self.call = call
        self.session = nbtool.debug(call, **options) if options else None

    async def begin(self):
        if not self.call.has_started:
            self.call.start(asyncio.get_running_loop(), "")
        await eventually(lambda: self.call.span is not None)
        self.view.attach(self.call.span.run)
        self.view.take_up(nbtool.last_trace().spans)
        self.view.reveal()

    def ask(self, **message):
        before = len(self.page.answers)
        self.view.heard(message)
        return self.page.answers[before][1] if len(self.page.answers) > before else None

    async def stops(self, *wanted):
        await eventually(
            lambda: [(s["place"], s["name"]) for s in self.page.ui.get("stops", ())] == [*wanted]
        )
        return [stop["step"] for stop in self.page.ui["stops"]]


async def eventually(holds):
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - what a page shows sets no event
            await asyncio.sleep(0.01)


# What `look` waits for, so that a test decides how long it runs.
held = contextvars.ContextVar("held", default=None)


async def look(city):
    if held.get() is not None:
        await held.get().wait()
    if city == "nowhere":
        raise KeyError(city)
    return f"{city} is sunny"


class Agent(nbtool.Module):
    async def aforward(self, city):
        first = await nbtool.Tool(look).acall(city=city)
        await asyncio.sleep(0.05)
        return first


class Both(nbtool.Module):
    async def aforward(self):
        return await asyncio.gather(*[nbtool.Tool(look).acall(city=c) for c in ("Rome", "Oslo")])


def labels(shown):
    return [button["cmd"] for button in shown.page.ui["buttons"]]


@pytest.fixture
def let_go():
    event = asyncio.Event()
    token = held.set(event)
    yield event.set
    held.reset(token)


async def test_pause_gives_a_call_a_debugger_and_tells_where_it_waits(let_go):
    shown = Shown(Agent().acall(city="Rome"))
    await shown.begin()
    assert shown.ask(t="cmd", cmd="pause") == {"ok": True, "note": ""}
    let_go()
    (step,) = await shown.stops(("after", "look"))

    assert labels(shown) == ["resume", "stop"]
    assert (shown.page.ui["state"], shown.page.paused[step]) == ("paused", "after")
    assert shown.ask(t="cmd", cmd="resume")["ok"]
    assert await shown.call == "Rome is sunny"
    await eventually(lambda: shown.page.ui["state"] == "ended")
    assert (shown.page.paused[step], shown.page.ui["stops"]) == (None, [])


@pytest.mark.usefixtures("let_go")
async def test_what_runs_while_a_pause_waits_for_it_is_named():
    shown = Shown(Agent().acall(city="Rome"))
    await shown.begin()
    shown.ask(t="cmd", cmd="pause")
    await eventually(lambda: shown.page.ui.get("state") == "pausing")

    assert shown.page.ui["waits_for"] == ["tool look"]
    shown.ask(t="cmd", cmd="stop")
    await asyncio.wait([asyncio.ensure_future(shown.call)])


async def test_failed_step_is_edited_and_retried_from_the_page():
    shown = Shown(Agent().acall(city="nowhere"), on_error=True)
    await shown.begin()
    (step,) = await shown.stops(("failed", "look"))
    (stop,) = shown.page.ui["stops"]
    start = shown.ask(t="edit", id=step)

    assert stop["repeats"] == {"served": [], "again": ["tool look"]}
    assert start == {"what": "inputs", "values": {"city": "nowhere"}, "fixed": []}
    wrong = shown.ask(t="cmd", cmd="edit_inputs", id=step, inputs='{"town": 1}')
    assert (wrong["ok"], "town" in wrong["note"]) == (False, True)
    assert shown.ask(t="cmd", cmd="edit_inputs", id=step, inputs='{"city": "Oslo"}')["ok"]
    assert shown.ask(t="detail", id=step)["sections"][0]["rows"] == [["city", "Oslo"]]
    assert shown.ask(t="cmd", cmd="retry", id=step)["ok"]
    assert await shown.call == "Oslo is sunny"


async def test_output_that_no_record_has_yet_is_among_the_details():
    shown = Shown(
        Agent().acall(city="Rome"), breakpoints=[nbtool.Breakpoint(name="look", at="after")]
    )
    await shown.begin()
    (step,) = await shown.stops(("after", "look"))
    titles = [s["title"] for s in shown.ask(t="detail", id=step)["sections"]]
    shown.ask(t="cmd", cmd="resume", id=step)

    assert titles == ["Arguments", "Facts", "Output so far"]
    assert await shown.call == "Rome is sunny"


async def test_one_branch_goes_on_while_the_other_waits():
    shown = Shown(Both().acall(), breakpoints=["look"])
    await shown.begin()
    first, second = await shown.stops(("before", "look"), ("before", "look"))
    shown.ask(t="cmd", cmd="resume", id=second)

    assert await shown.stops(("before", "look")) == [first]
    shown.ask(t="cmd", cmd="resume")
    assert await shown.call == ["Rome is sunny", "Oslo is sunny"]


@pytest.mark.parametrize("message", [
    {"cmd": "retry", "id": 10**9}, {"cmd": "retry", "id": "x"}, {"cmd": "skip", "id": [1]},
    {"cmd": "edit_inputs", "id": {}, "inputs": 3}, {"cmd": "step_into", "id": -1},
])  # fmt: skip
async def test_command_for_no_step_changes_nothing(message):
    shown = Shown(Agent().acall(city="Rome"), breakpoints=["look"])
    await shown.begin()
    await shown.stops(("before", "look"))

    assert shown.ask(t="cmd", **message) == {
        "ok": False, "note": "This step does not wait any more.",
    }  # fmt: skip
    await shown.stops(("before", "look"))
    shown.ask(t="cmd", cmd="resume")
    assert await shown.call == "Rome is sunny"
