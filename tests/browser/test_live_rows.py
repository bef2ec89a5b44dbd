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
    expect(trace.element.locator(".nbt-title")).to_have_text("In [2]")
    notebook.let("early")
    expect(trace.row("early")).to_have_attribute("data-status", "ok")
    expect(trace.row("late")).to_have_attribute("data-status", "running")
    notebook.let("late")
    expect(trace.element).to_have_count(0)
    assert "late" in notebook.text(1)


def test_predictor_and_its_model_show_while_the_model_answers(open_notebook):
    cell = "result = await qa.acall(question='why?')\nresult.answer"
    qa = "nb.configure(lm=SlowLM([{'answer': 'So.'}]))\nqa = nb.Predict('question -> answer')"
    notebook = open_notebook(f"{SETUP}\n{qa}", cell)
    notebook.run(0)
    notebook.start(1)
    trace = notebook.trace(1)

    expect(trace.row("dummy")).to_have_attribute("data-status", "running")
    assert trace.names() == ["Predict", "dummy"]
    notebook.let("answer")
    expect(trace.element).to_have_count(0)
    assert "✓ dummy · lm" in notebook.text(1)
    assert "'So.'" in notebook.text(1)


def test_loop_of_calls_has_one_view(open_notebook):
    notebook = open_notebook(
        SETUP, "for _ in range(3): await asyncio.gather(early('?'), word('on'))"
    )
    notebook.run(0)
    notebook.start(1)
    expect(notebook.trace(1).row("early")).to_be_visible()
    notebook.let("early")
    notebook.let("on")
    notebook.wait_for(1)
    expect(notebook.trace(1).element).to_have_count(0)

    assert notebook.text(1).count("✓ early") == 3
    expect(notebook.output(1).locator(".nbtool-trace")).to_have_count(1)
