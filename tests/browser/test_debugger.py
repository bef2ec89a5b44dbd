"""A person pauses, looks, edits, mends and goes on, in the view of the chain."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP, WAYS

pytestmark = pytest.mark.any_kernel

FORECAST = """
class Forecast(nb.Module):
    def __init__(self):
        self.weather = nb.Tool(weather)

    async def aforward(self, city):
        degrees = await self.weather.acall(city=city)
        return f"{city}: {degrees}"

forecast = Forecast()
"""
BROKEN = "def weather(city):\n    return {'temp': 18}['temperature']"
MENDED = "def weather(city):\n    return {'temp': 18}['temp']"
ASKED = """
class Echo(DummyLM):
    async def aforward(self, prompt=None, messages=None, **options):
        city = "Oslo" if "Oslo" in str(messages) else "Rome"
        return await DummyLM([{"answer": city}]).aforward(messages=messages)

nb.configure(lm=Echo([]))
session = nb.debug(nb.Predict("question -> answer").acall(question="Rome"), breakpoints=["lm"])
"""


def in_debugger(open_notebook, *cells, setup=""):
    """Open a notebook whose second cell debugs a chain, and run that."""
    notebook = open_notebook(SETUP + setup, *cells)
    notebook.run(0)
    notebook.start(1)
    return notebook, notebook.trace(1)


def test_failed_step_is_mended_in_another_cell_and_retried(open_notebook):
    debugged = "session = nb.debug(forecast.acall(city='Rome'))"
    cells = [debugged, MENDED, "await session"]
    notebook, trace = in_debugger(open_notebook, *cells, setup=f"{BROKEN}\n{FORECAST}")
    line = trace.stop("tool weather")
    expect(line).to_contain_text("KeyError: 'temperature'")
    expect(trace.row("weather")).to_have_attribute("data-status", "paused")
    trace.press("Retry")
    expect(line).to_contain_text("KeyError")  # as it was: nothing was mended yet
    notebook.run(2)
    trace.press("Retry")
    notebook.run(3)

    assert "Rome: 18" in notebook.text(3)


def pause(trace):
    """Press Pause, and wait until it has arrived: what runs then goes on to its end."""
    trace.press("Pause")
    expect(trace.element.locator(".nbt-state")).to_have_text("pausing")


@pytest.mark.parametrize("way", WAYS)
def test_chain_is_paused_looked_at_stepped_and_let_go(open_notebook, way):
    notebook, trace = in_debugger(open_notebook, WAYS[way], "nb.last_trace().spans[0].output")
    expect(trace.row("early")).to_have_attribute("data-status", "running")
    pause(trace)
    expect(trace.element).to_contain_text("Waits for function early to end.")
    notebook.let("early")
    notebook.let("late")
    expect(trace.stop("function early")).to_contain_text("paused after")
    trace.press("Step into")
    expect(trace.stop("function late")).to_contain_text("paused before")
    trace.stop("function late").get_by_role("button", name="function late").click()
    expect(trace.details).to_contain_text("found")
    trace.press("Step over")
    expect(trace.stop("function late")).to_contain_text("paused after")
    expect(trace.details).to_contain_text("written")
    trace.press("Resume")
    notebook.run(2)

    assert "written" in notebook.text(2)


def test_messages_to_an_lm_are_edited(open_notebook):
    notebook, trace = in_debugger(open_notebook, ASKED, "(await session).answer")
    trace.press("Edit inputs …")
    question = trace.element.get_by_label("messages user")
    expect(question).to_be_visible()
    question.fill(question.input_value().replace("Rome", "Oslo"))
    trace.press("Apply")
    expect(question).to_have_count(0)
    trace.press("Resume")
    notebook.run(2)

    assert "Oslo" in notebook.text(2)


def test_edit_that_does_not_fit_is_refused_where_it_was_written(open_notebook):
    debugged = "session = nb.debug(forecast.acall(city='Rome'), breakpoints=['weather'])"
    weather = "def weather(city: str, day: int = 1):\n    return [city, day]"
    cells = [debugged, "await session"]
    notebook, trace = in_debugger(open_notebook, *cells, setup=f"{weather}\n{FORECAST}")
    trace.press("Edit inputs …")
    trace.press("Apply")
    expect(trace.element.get_by_role("alert")).to_have_text("Nothing was changed.")
    trace.element.get_by_label("city").fill("Oslo")
    trace.press("Apply")
    expect(trace.element.get_by_label("city")).to_have_count(0)
    trace.press("Step over")
    trace.press("Edit output …")
    expect(trace.element.get_by_label("output")).to_have_value('[\n  "Oslo",\n  1\n]')
    trace.element.get_by_label("output").fill("[1")
    trace.press("Apply")
    expect(trace.element.get_by_role("alert")).to_contain_text("output is no JSON")
    trace.element.get_by_label("output").fill("7")
    trace.press("Apply")
    expect(trace.element.get_by_label("output")).to_have_count(0)
    trace.press("Resume")
    notebook.run(2)

    assert "Rome: 7" in notebook.text(2)


def test_step_is_skipped_with_what_a_person_writes(open_notebook):
    debugged = "session = nb.debug(forecast.acall(city='Rome'))"
    cells = [debugged, "await session"]
    notebook, trace = in_debugger(open_notebook, *cells, setup=f"{BROKEN}\n{FORECAST}")
    trace.press("Skip …")
    trace.element.get_by_label("result").fill("quite warm")
    trace.press("Skip with this")
    notebook.run(2)

    assert "Rome: quite warm" in notebook.text(2)


@pytest.mark.parametrize("way", WAYS)
def test_chain_that_is_paused_is_stopped(open_notebook, way):
    notebook, trace = in_debugger(open_notebook, WAYS[way], "nb.running()")
    pause(trace)
    notebook.let("early")
    expect(trace.stop("function early")).to_be_visible()
    trace.press("Stop")
    notebook.wait_for(1)
    expect(trace.element).to_have_count(0)
    notebook.run(2)

    assert notebook.text(2).endswith("[]")


@pytest.mark.parametrize("way", WAYS)
def test_page_that_is_reloaded_still_has_its_buttons(open_notebook, way):
    notebook, trace = in_debugger(open_notebook, WAYS[way], "nb.last_trace().spans[0].output")
    pause(trace)
    notebook.let("early")
    notebook.let("late")
    expect(trace.stop("function early")).to_be_visible()
    notebook.save()
    notebook.open(awaits_kernel=False)
    trace = notebook.trace(1)
    expect(trace.stop("function early")).to_contain_text("paused after")
    trace.press("Resume")
    expect(trace.row("late")).to_have_attribute("data-status", "ok")
    notebook.run(2)

    assert "written" in notebook.text(2)


@pytest.mark.parametrize("way", ["await", "sync"])
def test_cell_that_waits_is_detached_and_the_chain_goes_on(open_notebook, way):
    cells = [WAYS[way], "print('free')", "nb.last_trace().spans[0].output"]
    notebook, trace = in_debugger(open_notebook, *cells)
    pause(trace)
    notebook.let("early")
    notebook.let("late")
    expect(trace.stop("function early")).to_be_visible()
    trace.press("Detach")
    notebook.wait_for(1)
    assert "it goes on in the background" in notebook.text(1)
    notebook.run(2)
    assert "free" in notebook.text(2)
    trace.press("Resume")
    expect(trace.element).to_have_count(0)
    notebook.run(3)

    assert "written" in notebook.text(3)


def test_branches_wait_side_by_side_and_one_goes_on_alone(open_notebook):
    both = "both = asyncio.gather(agent.acall(question='a'), agent.acall(question='b'))"
    notebook, trace = in_debugger(open_notebook, both, "await both")
    pause(trace)
    notebook.let("early")
    notebook.let("late")
    lines = trace.element.locator(".nbt-stop")
    expect(lines).to_have_count(2)
    lines.first.get_by_role("button", name="Resume this").click()
    expect(lines).to_have_count(1)
    trace.press("Resume")
    notebook.run(2)

    assert "['written', 'written']" in notebook.text(2)


def test_hostile_texts_of_a_step_that_waits_stay_texts(open_notebook):
    attack = "<img src=x onerror=\"document.title='owned'\">"
    broken = f"def weather(city):\n    raise KeyError({attack!r})"
    debugged = f"session = nb.debug(forecast.acall(city={attack!r}))"
    notebook, trace = in_debugger(open_notebook, debugged, setup=f"{broken}\n{FORECAST}")
    expect(trace.stop("tool weather")).to_contain_text("onerror")
    trace.press("Edit inputs …")
    expect(trace.element.get_by_label("city")).to_have_value(attack)

    assert trace.element.locator("img").count() == 0
    assert notebook.page.title() != "owned"
    trace.press("Stop")
