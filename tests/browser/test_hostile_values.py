"""Values that are deep, and values that are secret, on the newest kernel and on ipykernel 6."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect
from programs import SETUP

pytestmark = pytest.mark.any_kernel

DEEP = """
def nested(depth):
    value = "<img src=x onerror=window.__xss=1>"
    for _ in range(depth):
        value = {"in": [value]}
    return value

async def step(depth, given):
    if depth:
        return await traced("function", f"at {depth}", step, {"depth": depth - 1, "given": given})
    await word("end")
    return given

result = await traced("module", "Deep", step, {"depth": 200, "given": nested(200)})
"""
KEY = "sk-proj-0123456789abcdefghijABCDEFGHIJ"
SECRETS = f"""
import os
os.environ["OPENAI_API_KEY"] = key = "{KEY}"

async def leaks(**given):
    raise ValueError(f"401 for {{key}}")

async def answers(**given):
    current_span().arrive(f"Your key is {{key}}.")
    await word("end")
    return [f"Your key is {{key}}.", {{"api_key": key}}]

async def root(**given):
    try: await traced("tool", "leaks", leaks, {{"headers": {{"Authorization": f"Bearer {{key}}"}}}})
    except ValueError: pass
    messages = [{{"role": "user", "content": key}}]
    return await traced("lm", "answers", answers, {{"messages": messages}})

result = await traced("module", "Root", root, {{"question": f"what is {{key}}?"}})
"""


def test_chain_and_values_200_deep_are_shown(open_notebook):
    notebook = open_notebook(SETUP, DEEP)
    notebook.run(0)
    notebook.start(1)
    trace = notebook.trace(1)
    expect(trace.element).to_contain_text("201 steps")
    trace.tree.press("Home")
    trace.tree.press("Enter")
    expect(trace.details.locator(".nbt-name")).to_have_text("Deep")
    expect(trace.details.get_by_text("Facts")).to_be_visible()
    trace.tree.press("End")
    expect(trace.details.locator(".nbt-name")).to_have_text("at 1")
    expect(trace.details.get_by_text("Facts")).to_be_visible()
    notebook.let("end")
    notebook.wait_for(1)
    expect(trace.element).to_have_count(0)

    assert "201 steps" in notebook.text(1)
    assert notebook.output(1).locator("img").count() == 0
    assert not notebook.page.evaluate("() => window.__xss")


def test_secret_is_neither_on_the_page_nor_in_the_file(open_notebook):
    notebook = open_notebook(SETUP, SECRETS)
    notebook.run(0)
    notebook.start(1)
    trace = notebook.trace(1)
    for name in ("Root", "leaks", "answers"):
        trace.row(name).click()
        expect(trace.details.get_by_text("Facts")).to_be_visible()
        expect(trace.element).not_to_contain_text(KEY)
    expect(trace.element).to_contain_text("Your key is")
    notebook.let("end")
    notebook.wait_for(1)
    expect(trace.element).to_have_count(0)
    outputs = notebook.saved().cells[1].outputs

    assert "Your key is" in notebook.text(1)
    assert KEY not in notebook.text(1)
    assert KEY not in str(outputs)
