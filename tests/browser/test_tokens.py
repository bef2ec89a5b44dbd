"""An answer is read while the model makes it."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP

pytestmark = pytest.mark.any_kernel
ARRIVING = """
async def answer():
    pieces = {"one": "The sky ", "two": "is blue ", "three": "today, ", "four": "or so."}
    for name, piece in pieces.items():
        current_span().arrive(piece)
        await word(name)
    return ["The sky is blue today."]
"""
OVER_HTTP = """
from nbtool.testing import Answer, ScriptedServer
server = ScriptedServer(default=Answer(chunks=["The sky ", "is ", "blue."] * 20, chunk_delay_s=0.1))
server.__enter__()
lm = nb.LM("openai/scripted", api_base=server.base_url, api_key="none", cache=False)
"""


def test_pieces_of_an_answer_show_as_they_arrive(open_notebook):
    notebook = open_notebook(SETUP + ARRIVING, "await traced('lm', 'gpt', answer, {})")
    notebook.run(0)
    notebook.start(1)
    growing = notebook.trace(1).element.locator(".nbt-growing")

    expect(growing).to_have_text("The sky ")
    notebook.let("one")
    expect(growing).to_have_text("The sky is blue ")
    notebook.let("two")
    expect(growing).to_contain_text("today")
    notebook.let("three")
    notebook.let("four")
    expect(growing).to_have_count(0)


def test_answer_that_comes_over_http_shows_as_it_arrives(open_notebook):
    notebook = open_notebook(SETUP + OVER_HTTP, "print(await lm.acall('why?'))")
    notebook.run(0)
    notebook.start(1)
    growing = notebook.trace(1).element.locator(".nbt-growing")

    expect(growing).to_contain_text("The sky is blue.")
    assert notebook.is_running(1)
    notebook.wait_for(1)
    assert "The sky is blue." in notebook.text(1)
