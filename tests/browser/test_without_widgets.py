"""Where a front end has no widgets the trace is HTML that is drawn anew."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP, WAYS

pytestmark = pytest.mark.any_kernel
NO_WIDGETS = "\nimport os\nos.environ['NBTOOL_WIDGETS'] = '0'"


@pytest.mark.parametrize("way", WAYS)
def test_html_grows_while_the_chain_runs_and_stays(open_notebook, way):
    notebook = open_notebook(SETUP + NO_WIDGETS, WAYS[way])
    notebook.run(0)
    notebook.start(1)
    output = notebook.output(1)

    expect(output.get_by_text("● early · function")).to_be_visible()
    notebook.let("early")
    expect(output.get_by_text("● late · function")).to_be_visible()
    notebook.let("late")
    expect(output).to_contain_text("✓ late · function")
    expect(notebook.trace(1).element).to_have_count(0)
