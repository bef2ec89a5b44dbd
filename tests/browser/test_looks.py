"""Light and dark, as pictures for a person in tests/browser/screenshots, and as colours here."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import expect
from programs import SETUP

PICTURES = Path(__file__).parent / "screenshots"
STEPS = """
import random

@nb.traced
async def fetch(url):
    await asyncio.sleep(0.1 + 0.05 * (len(url) % 5))
    return {"status": 200, "bytes": 1_532, "title": "A page about " + url}

def weather(city):
    "Say what the weather is."
    time.sleep(0.2)
    raise KeyError(f"no station in {city!r}")

async def slow_answer(**given):
    for piece in ["Because of Rayleigh scattering: ", "shorter waves of light are scattered more ",
                  "by the molecules of the air than longer ones, ", "so that what reaches us from "
                  "all over the sky is mostly blue. ", "At sunset ", "the way is longer …", "", ""]:
        current_span().arrive(piece)
        await asyncio.sleep(0.1)
    await word("end")
    return ["done"]

class Research(nb.Module):
    async def aforward(self, question):
        pages = ["sky.example", "light.example", "air.example", "sun.example/very/long/" + "x" * 90]
        await asyncio.gather(*(fetch(url) for url in pages))
        try: await nb.Tool(weather).acall(city="Ys")
        except KeyError: pass
        await asyncio.gather(*(fetch(f"{n}.example") for n in range(24)))
        draft = await nb.ChainOfThought("question -> answer").acall(question=question)
        turns = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": question}]
        await traced("lm", "openai/gpt-4o-mini", slow_answer, {"messages": turns})
        if "fail" in question: await nb.Tool(weather).acall(city="Thule")
        return draft

nb.configure(lm=DummyLM([{"reasoning": "Light scatters.", "answer": "Scattering."}] * 9))
research = Research()
"""


def in_theme(notebook, name):
    notebook.page.evaluate(
        "theme => jupyterapp.commands.execute('apputils:change-theme', {theme})", name
    )
    is_light = "true" if name.endswith("Light") else "false"
    expect(notebook.page.locator("body")).to_have_attribute("data-jp-theme-light", is_light)


def picture(notebook, cell, name):
    notebook.output(cell).screenshot(path=PICTURES / f"{name}.png")


def brightness(locator):
    """Return how bright text and paper are, from 0 to 255."""
    return locator.evaluate("""element => {
      const context = document.createElement('canvas').getContext('2d');
      const style = getComputedStyle(element);
      return [style.color, style.backgroundColor].map(colour => {
        context.fillStyle = colour;
        context.fillRect(0, 0, 1, 1);
        const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
        return (red + green + blue) / 3;
      });
    }""")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"], ids=["light", "dark"])
def test_view_is_dark_on_light_paper_and_light_on_dark(open_notebook, theme):
    notebook = open_notebook(
        SETUP + STEPS, "result = await research.acall(question='Why, and fail?')"
    )
    name = theme.split()[-1].lower()
    in_theme(notebook, theme)
    notebook.run(0)
    notebook.start(1)
    trace = notebook.trace(1)
    trace.element.scroll_into_view_if_needed()  # out of sight it is not drawn
    expect(trace.element.locator(".nbt-growing")).to_contain_text("sunset")
    picture(notebook, 1, f"{name}-running")
    trace.row("weather").click()
    expect(trace.details.get_by_text("Facts")).to_be_visible()
    picture(notebook, 1, f"{name}-error")
    trace.row("openai/gpt-4o-mini").click()
    expect(trace.details).to_contain_text("Be brief.")
    picture(notebook, 1, f"{name}-answer")
    trace.row("fetch × 28").locator(".nbt-twist").click()
    expect(trace.row("fetch × 28")).to_have_attribute("aria-expanded", "true")
    picture(notebook, 1, f"{name}-group")
    trace.press("Filter")
    notebook.page.set_viewport_size({"width": 760, "height": 900})
    picture(notebook, 1, f"{name}-narrow")
    notebook.page.set_viewport_size({"width": 1200, "height": 900})
    ink, paper = brightness(trace.element)
    notebook.let("end")
    expect(trace.element).to_have_count(0)
    picture(notebook, 1, f"{name}-static")

    assert (ink < 80 and paper > 200) if name == "light" else (ink > 200 and paper < 80)
