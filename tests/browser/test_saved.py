"""What a notebook keeps of a trace: readable when it is opened again, on GitHub, as a page."""

from __future__ import annotations

import nh3
import pytest
from playwright.sync_api import expect
from programs import SETUP, WAYS

pytestmark = pytest.mark.any_kernel
WIDGET = "application/vnd.jupyter.widget-view+json"
# What GitHub says it lets through, in the description of its markup pipeline: of tags and of
# attributes; no style, class or id.
GITHUB_TAGS = """
h1 h2 h3 h4 h5 h6 br b i strong em a pre code img tt div ins del sup sub p picture ol ul
table thead tbody tfoot blockquote dl dt dd kbd q samp var hr ruby rt rp li tr td th s strike
summary details caption figure figcaption abbr bdo cite dfn mark small source span time wbr
"""
GITHUB_ATTRIBUTES = {
    "*": {
        "abbr", "align", "alt", "border", "colspan", "dir", "height", "hspace", "lang", "open",
        "rowspan", "scope", "title", "valign", "vspace", "width",
    },
    "a": {"href"},
    "img": {"src", "longdesc"},
}  # fmt: skip


def finished(open_notebook, way, **options):
    notebook = open_notebook(SETUP, WAYS[way], **options)
    notebook.let("early")
    notebook.run(0)
    notebook.start(1)
    expect(notebook.trace(1).row("late")).to_be_visible()
    notebook.let("late")
    notebook.wait_for(1)
    expect(notebook.trace(1).element).to_have_count(0)
    return notebook


def html_of(notebook):
    outputs = notebook.saved().cells[1].outputs
    (bundle,) = [
        each.data for each in outputs if "late" in each.get("data", {}).get("text/html", "")
    ]
    assert WIDGET not in bundle
    return bundle["text/html"]


@pytest.mark.parametrize("place", ["lab/tree", "notebooks"], ids=["lab", "notebook7"])
@pytest.mark.parametrize("way", WAYS)
def test_saved_notebook_shows_the_trace_when_it_is_opened_again(open_notebook, way, place):
    notebook = finished(open_notebook, way, place=place)
    notebook.save()
    notebook.open_afresh()
    output = notebook.output(1)

    expect(output.locator("details")).to_have_count(4)
    output.locator("summary").first.click()
    expect(output.get_by_text("late · function")).to_be_visible()
    assert "Error displaying widget" not in notebook.text(1)


def test_saved_trace_is_readable_on_github(open_notebook):
    notebook = finished(open_notebook, "await")
    kept = nh3.clean(html_of(notebook), tags=set(GITHUB_TAGS.split()), attributes=GITHUB_ATTRIBUTES)
    notebook.page.set_content(kept)
    tree = notebook.page.locator("details > ul > li > details")

    assert "style=" not in kept
    assert tree.nth(0).locator("> summary").text_content().startswith("✓ Agent · module")
    assert "question=why?" in tree.nth(0).text_content()
    assert tree.nth(1).locator("> summary").text_content().startswith("✓ early · function")
    assert "found" in tree.nth(1).text_content()


def test_notebook_that_is_run_by_nbconvert_holds_the_trace(open_notebook, server):
    release = "asyncio.get_running_loop().call_later(0.5, pathlib.Path('late').touch)"
    notebook = open_notebook(f"{SETUP}\n{release}", WAYS["await"])
    notebook.let("early")
    page = server.converted(notebook.path)
    notebook.page.set_content(page)
    summary = notebook.page.locator("summary", has_text="3 steps")

    expect(summary).to_be_visible()
    summary.click()
    expect(notebook.page.get_by_text("late · function")).to_be_visible()
    assert "widget-view" not in page.split("</head>")[-1]
