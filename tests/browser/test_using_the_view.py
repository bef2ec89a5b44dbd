"""What a person does with a live trace: walk, read, search, filter, copy."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect
from programs import SETUP

STEPS = """
@nb.traced
async def item(n):
    return {"square": n * n}

def look(text):
    "Look something up."
    if "bad" in text: raise KeyError("nothing about " + text)
    return text.upper()

class Research(nb.Module):
    async def aforward(self, question):
        await asyncio.gather(*(item(n) for n in range(30)))
        found = await nb.Tool(look).acall(text=question)
        try: await nb.Tool(look).acall(text="bad")
        except KeyError: pass
        answer = await nb.Predict("question, found -> answer").acall(question=question, found=found)
        await word("end")
        return answer

nb.configure(lm=DummyLM([{"answer": "So it is."}]))
research = Research()
"""


@pytest.fixture
def notebook(open_notebook):
    opened = open_notebook(SETUP + STEPS, "result = await research.acall(question='why?')")
    opened.run(0)
    opened.start(1)
    expect(opened.trace(1).row("Predict")).to_be_visible()
    return opened


@pytest.fixture
def trace(notebook):
    return notebook.trace(1)


def selected(trace):
    return trace.element.locator(".nbt-row[aria-selected=true] .nbt-name")


def test_keys_walk_through_the_tree_and_open_it(notebook, trace):
    trace.tree.focus()
    press = notebook.page.keyboard.press
    press("Home")
    expect(selected(trace)).to_have_text("Research")
    press("ArrowDown")
    expect(selected(trace)).to_have_text("item × 30")
    press("ArrowRight")
    expect(selected(trace)).to_have_text("item × 30")
    press("ArrowRight")
    expect(selected(trace)).to_have_text("item")
    press("ArrowLeft")
    press("ArrowLeft")
    expect(trace.row("item × 30")).to_have_attribute("aria-expanded", "false")
    press("End")
    expect(selected(trace)).to_have_text("dummy")


def test_keys_that_come_faster_than_frames_find_what_was_opened(trace):
    trace.tree.focus()
    trace.tree.evaluate("""tree => {
      for (const key of ["Home", "ArrowDown", "ArrowRight", "ArrowRight"]) {
        tree.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
      }
    }""")

    expect(selected(trace)).to_have_text("item")


def test_enter_opens_the_details_and_escape_closes_them(notebook, trace):
    trace.tree.focus()
    for key in ("Home", "ArrowDown", "ArrowDown", "Enter"):
        notebook.page.keyboard.press(key)
    expect(trace.details).to_contain_text("WHY?")
    expect(trace.details).to_contain_text("Facts")
    notebook.page.keyboard.press("Escape")

    expect(trace.details).to_be_hidden()
    expect(trace.tree).to_be_focused()


def test_readers_of_screens_get_a_tree(trace):
    rows = trace.tree.get_by_role("treeitem")
    expect(rows).to_have_count(6)

    assert [row.get_attribute("aria-level") for row in rows.all()] == ["1", "2", "2", "2", "2", "3"]
    assert [row.get_attribute("aria-posinset") for row in rows.all()] == list("112341")
    assert rows.first.get_attribute("aria-expanded") == "true"
    assert trace.tree.get_attribute("aria-label") == "Steps"


def test_slash_searches_and_escape_shows_all_again(notebook, trace):
    trace.tree.focus()
    notebook.page.keyboard.press("/")
    notebook.page.keyboard.type("nothing about")
    expect(trace.element.locator(".nbt-count")).to_have_text("1 found")
    assert trace.names() == ["Research", "look"]
    expect(trace.element.locator("mark")).to_have_text("nothing about")
    notebook.page.keyboard.press("Escape")

    expect(trace.row("Predict")).to_be_visible()


def test_filters_leave_the_steps_that_are_asked_for(trace):
    trace.press("Filter")
    trace.press("Errors")
    expect(trace.element.locator(".nbt-count")).to_have_text("1 found")
    trace.press("Errors")
    trace.element.get_by_label("Kind of steps").select_option("LM calls")
    expect(trace.row("item")).to_have_count(0)

    assert trace.names() == ["Research", "Predict", "dummy"]


def test_steps_of_adapters_show_when_asked_for(trace):
    assert "ChatAdapter.format" not in trace.names()
    trace.press("Filter")
    trace.press("Plumbing")

    expect(trace.element.locator(".nbt-row[data-kind=adapter]")).to_have_count(2)


def test_many_steps_alike_are_one_row_until_it_is_opened(trace):
    expect(trace.row("item × 30")).to_contain_text("30 ok")
    assert trace.names().count("item") == 0
    trace.row("item × 30").locator(".nbt-twist").click()

    expect(trace.row("item × 30")).to_have_attribute("aria-expanded", "true")
    assert "item" in trace.names()


def test_step_is_copied_as_json_and_as_python(notebook, trace):
    copied = "() => navigator.clipboard.readText()"
    trace.row("look").click()
    trace.press("Copy as JSON")
    expect(trace.details.get_by_role("button", name="Copied")).to_be_visible()
    as_json = json.loads(notebook.page.evaluate(copied))
    trace.press("Copy as Python")
    expect(trace.details.get_by_role("button", name="Copied")).to_have_count(2)
    as_python = notebook.page.evaluate(copied)

    assert (as_json["name"], as_json["inputs"]) == ("look", {"text": "why?"})
    assert as_python == "look(text='why?')"


def test_click_on_an_lm_call_shows_messages_and_answer(trace):
    trace.row("dummy").click()

    expect(trace.details.locator(".nbt-message[data-role=system]")).to_have_count(1)
    expect(trace.details.locator(".nbt-message[data-role=user]")).to_contain_text("why?")
    expect(trace.details).to_contain_text("So it is.")


def test_cell_gets_no_keys_that_were_meant_for_the_trace(notebook, trace):
    trace.tree.focus()
    for key in ("d", "d", "b", "x", "Enter", "ArrowDown"):
        notebook.page.keyboard.press(key)

    expect(notebook.page.locator(".jp-Notebook .jp-CodeCell")).to_have_count(2)
    assert notebook.page.evaluate("() => document.activeElement.closest('.cm-editor')") is None
