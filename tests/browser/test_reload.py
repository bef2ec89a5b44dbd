"""A page that is reloaded while a chain runs shows all of it, and goes on."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP, WAYS

pytestmark = pytest.mark.any_kernel
ERROR = "Error displaying widget"


@pytest.mark.parametrize("way", WAYS)
def test_reloaded_page_shows_all_steps_and_goes_on(open_notebook, way):
    notebook = open_notebook(SETUP, WAYS[way])
    notebook.run(0)
    notebook.start(1)
    expect(notebook.trace(1).row("early")).to_be_visible()
    notebook.save()
    notebook.open(awaits_kernel=False)
    trace = notebook.trace(1)

    expect(trace.row("early")).to_have_attribute("data-status", "running")
    notebook.let("early")
    expect(trace.row("late")).to_have_attribute("data-status", "running")
    notebook.let("late")
    expect(trace.row("late")).to_have_attribute("data-status", "ok")
    expect(trace.element).to_contain_text("nbtool.show(1)")
    expect(trace.element.locator(".nbt-state")).to_have_text("ended")


def test_file_saved_after_a_reload_keeps_a_readable_copy(open_notebook):
    notebook = open_notebook(SETUP, WAYS["background"])
    notebook.run(0)
    notebook.let("early")
    notebook.start(1)
    copy = notebook.output(1).locator("summary", has_text="A copy of the trace")
    expect(copy).to_be_visible()
    notebook.save()
    notebook.open()
    expect(notebook.trace(1).row("late")).to_be_visible()
    notebook.let("late")
    expect(notebook.trace(1).row("late")).to_have_attribute("data-status", "ok")
    notebook.save()
    notebook.open_afresh()

    expect(copy).to_be_visible()
    assert "● late · function" in notebook.text(1)


def test_trace_is_in_the_file_once_it_was_shown_again_and_closed(open_notebook):
    notebook = open_notebook(SETUP, WAYS["background"], "nb.show()")
    notebook.run(0)
    notebook.let("early")
    notebook.let("late")
    notebook.start(1)
    expect(notebook.output(1).locator("summary").first).to_be_visible()
    notebook.save()
    notebook.open()
    notebook.run(2)
    expect(notebook.trace(2).row("late")).to_be_visible()
    notebook.trace(2).press("Close")
    expect(notebook.trace(2).element).to_have_count(0)
    notebook.save()
    notebook.open_afresh()

    assert "✓ late · function" in notebook.text(2)
    assert ERROR not in notebook.text(2)
