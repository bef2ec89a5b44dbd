"""A click on Stop ends the chain, however its cell waits for it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP, WAYS

pytestmark = pytest.mark.any_kernel
MOST_LINES = 6  # of what a cell says that was stopped


@pytest.mark.parametrize("way", WAYS)
def test_click_on_stop_ends_the_chain(open_notebook, way):
    notebook = open_notebook(SETUP, WAYS[way], "nb.running()")
    notebook.run(0)
    notebook.start(1)
    trace = notebook.trace(1)
    expect(trace.row("early")).to_have_attribute("data-status", "running")
    trace.press("Stop")
    notebook.wait_for(1)
    expect(trace.element).to_have_count(0)
    notebook.run(2)

    assert "◌ early" in notebook.text(1)
    assert notebook.text(2).endswith("[]")


@pytest.mark.parametrize("way", ["await", "sync"])
def test_cell_that_was_stopped_says_so_in_few_lines(open_notebook, way):
    notebook = open_notebook(SETUP, WAYS[way])
    notebook.run(0)
    notebook.start(1)
    notebook.trace(1).press("Stop")
    notebook.wait_for(1)
    expect(notebook.trace(1).element).to_have_count(0)
    (error,) = [each for each in notebook.saved().cells[1].outputs if each.output_type == "error"]

    assert len("\n".join(error.traceback).splitlines()) <= MOST_LINES
