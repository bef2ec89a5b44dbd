"""A newcomer runs the first tutorial and the one on mending, cell by cell, on the real model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from playwright.sync_api import expect

_PATIENCE_MS = 120_000
FOLDER = Path(__file__).resolve().parents[2] / "notebooks"


@pytest.fixture
def tutorial(open_notebook):
    """Open a tutorial; returns it with a function that finds a cell by a part of its source."""

    def opened(name):
        cells = json.loads((FOLDER / name).read_text("utf-8"))["cells"]
        code = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
        notebook = open_notebook(*code)
        notebook.page.set_default_timeout(_PATIENCE_MS)  # a real model answers

        def cell(part):
            return next(number for number, source in enumerate(code) if part in source)

        return notebook, cell

    return opened


def errors(notebook):
    return notebook.page.locator(".jp-OutputArea-output[data-mime-type*='error']").count()


def test_the_first_tutorial_shows_what_it_promises(tutorial):
    notebook, cell = tutorial("00_first_call.ipynb")
    notebook.run(cell("google.colab"), cell("nbtool.configure"))
    started = cell("call = qa.acall")
    notebook.run(started)
    expect(notebook.output(started)).to_contain_text("ChainOfThought")
    notebook.run(cell("await call"))
    expect(notebook.output(started).locator("summary").first).to_contain_text("1 LM call")
    assert len(notebook.text(cell("await call"))) > len("''")

    notebook.run(cell("prediction = qa("))
    agent = cell("nbtool.ReAct")
    notebook.run(agent)
    expect(notebook.output(agent)).to_contain_text("get_weather")
    notebook.run(cell("print(trace)"))
    assert "ReAct" in notebook.text(cell("print(trace)"))
    assert errors(notebook) == 0


def test_the_failing_chain_is_mended_by_the_buttons_of_its_view(tutorial):
    notebook, cell = tutorial("05_mend_a_failing_chain.ipynb")
    notebook.run(cell("google.colab"), cell("nbtool.configure"), cell("class Trip"))
    debugged = cell("session.wait_paused()")
    notebook.run(debugged)
    trace = notebook.trace(debugged)
    expect(trace.stop("tool weather")).to_contain_text("KeyError: 'temperature'")

    notebook.run(cell("report['temp']"))
    trace.press("Retry")
    expect(trace.element).to_have_count(0)  # it has ended: what is left is plain HTML
    expect(notebook.output(debugged)).to_contain_text("17 degrees in Oslo: take")

    notebook.run(cell("breakpoints="), cell("the weather service sleeps"), cell("nbtool.fork("))
    assert "no wind in Oslo" in notebook.text(cell("nbtool.fork("))
    notebook.run(cell("nbtool.replay("))
    assert errors(notebook) == 0
