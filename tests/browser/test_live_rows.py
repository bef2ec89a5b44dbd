"""A chain is seen while it runs, however its cell waits for it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP, WAYS

pytestmark = pytest.mark.any_kernel


@pytest.mark.parametrize("way", WAYS)
def test_steps_show_while_they_run(open_notebook, way):
    notebook = open_notebook(SETUP, WAYS[way])
    notebook.run(0)
    notebook.start(1)
    trace = notebook.trace(1)

    expect(trace.row("early")).to_have_attribute("data-status", "running")
    notebook.let("early")
    expect(trace.row("early")).to_have_attribute("data-status", "ok")
    expect(trace.row("late")).to_have_attribute("data-status", "running")
    notebook.let("late")
    expect(trace.element).to_have_count(0)
    assert "late" in notebook.text(1)
