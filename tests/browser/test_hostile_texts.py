"""Whatever a model, a tool or an error says is text: live, and in the saved form."""

from __future__ import annotations

import ast

import pytest
from front_end import Notebook
from playwright.sync_api import expect
from programs import SETUP

SHOW = """
from IPython.display import HTML, Latex, Markdown

def error_of(text):
    try: return type(text, (Exception,), {})(text)
    except (ValueError, UnicodeError): return ValueError(text)

async def show(text, end):
    async def gives(**given): return {text: text, "nested": [{text: [text]}]}
    async def fails(**given): raise error_of(text)
    async def answers(**given):
        current_span().annotate(model=text)
        current_span().arrive(text + " and more ")
        await word(end)
        return [text, {"text": text}]
    async def root(**given):
        await traced("tool", text, gives, {text: text})
        try: await traced("tool", "fails", fails, {"x": text})
        except Exception: pass
        turns = [{"role": text, "content": text}, {"role": "user", "content": [{text: text}]}]
        await traced("lm", text, answers, {"messages": turns, text: text})
        return {text: text}
    await traced("module", text, root, {text: text})
"""
# By name: an expression that makes the text, and how a page shows it that does not take care.
PAYLOADS = {
    "image": ("'<img src=x onerror=window.__xss=1>'", "HTML"),
    "script": ("'</pre></details><script>window.__xss=1</script>'", "HTML"),
    "svg": ("'<svg/onload=window.__xss=1>'", "HTML"),
    "frame": ("""'"><iframe srcdoc="<script>parent.__xss=1</script>">'""", "HTML"),
    "link": ("'javascript:window.__xss=1'", "lambda text: HTML(f'<a href={text}>x</a>')"),
    "data": ("'data:text/html,<script>window.__xss=1</script>'", "HTML"),
    "picture": ("'![x](http://127.0.0.1:1/leak)'", "Markdown"),
    "formula": (r"r'$\href{javascript:window.__xss=1}{x}$'", "Latex"),
    "comment": ("'</script><!--'", None),
    "entity": ("'&lt;script&gt;'", None),
    "clipboard": (r"'\x1b]52;c;aGk=\x07'", None),
    "terminal": (r"'\x1b]8;;http://x\x07\x1b[2J\x9b31m'", None),
    "bidi": (r"'\u202egnp.exe'", None),
    "nul": (r"'a\x00b'", None),
    "surrogate": (r"'a\ud800b'", None),
    "long": ("'x' * 1_000_000", None),
    "lines": (r"'\n' * 10_000", None),
    "prototype": ("'__proto__'", None),
    "constructor": ("'constructor'", None),
    "number": ("'NaN'", None),
    "style": ("'<style>*{display:none}</style>'", "HTML"),  # last: no page is of use after it
}
FOREIGN = """output => [...output.querySelectorAll(
  'script, img, svg, iframe, style, a, link, object, embed, form, video, audio, base, meta, math, '
  + 'mjx-container, .MathJax')].filter(element => !element.closest('.jp-OutputArea-promptOverlay')
).map(element => element.outerHTML.slice(0, 200))"""
OPEN_ALL = "output => { for (const each of output.querySelectorAll('details')) each.open = true }"


@pytest.fixture(scope="module")
def notebook(server, browser_context):
    texts = [expression for expression, _ in PAYLOADS.values()]
    yield from opened(
        server,
        browser_context,
        [f"await show({text}, 'end {number}')" for number, text in enumerate(texts, 1)],
    )


@pytest.fixture(scope="module")
def careless_notebook(server, browser_context):
    """Give a notebook that shows the texts as they are."""
    cells = [
        f"display(({shown_as})({expression}))" if shown_as else "'nothing to show'"
        for expression, shown_as in PAYLOADS.values()
    ]
    yield from opened(server, browser_context, cells)


def opened(server, browser_context, cells):
    notebook = Notebook(server, browser_context, [SETUP + SHOW, *cells])
    notebook.run(0)
    yield notebook
    notebook.close()


def detected(notebook, cell):
    """Return what a text did that should only have been read."""
    found = notebook.output(cell).evaluate(FOREIGN)
    found += ["script ran"] if notebook.page.evaluate("() => window.__xss") else []
    found += [url for url in notebook.requests if not url.startswith((notebook.base, "blob:"))]
    return found


def forget(notebook, cell):
    notebook.page.evaluate("""() => {
      jupyterapp.commands.execute('notebook:clear-cell-output');
      delete window.__xss;
    }""")
    expect(notebook.cell(cell).locator(".jp-OutputArea-output")).to_have_count(0)
    notebook.requests.clear()


def prove_detector(notebook, cell):
    notebook.run(cell)
    notebook.page.wait_for_timeout(300)  # for what a page does later
    assert detected(notebook, cell) != []
    notebook.page.evaluate("() => delete window.__xss")
    notebook.requests.clear()


def read_all(trace):
    """Open the details of each row."""
    for row in trace.element.locator(".nbt-row").all():
        row.click()
        expect(trace.details.locator(".nbt-waiting")).to_be_hidden()
        expect(trace.details.get_by_text("Facts")).to_be_visible()


@pytest.mark.usefixtures("kernel_name")
@pytest.mark.parametrize("name", PAYLOADS)
def test_hostile_text_in_every_field_is_only_read(notebook, careless_notebook, name):
    cell = list(PAYLOADS).index(name) + 1
    if PAYLOADS[name][1]:
        prove_detector(careless_notebook, cell)
    notebook.start(cell)
    trace = notebook.trace(cell)
    expect(trace.element.locator(".nbt-row")).to_have_count(4)
    read_all(trace)
    assert detected(notebook, cell) == []
    assert shown(name) in (trace.element.text_content() or "")

    notebook.let(f"end {cell}")
    expect(trace.element).to_have_count(0)
    notebook.output(cell).evaluate(OPEN_ALL)
    assert detected(notebook, cell) == []
    assert shown(name) in notebook.text(cell)
    forget(notebook, cell)


def shown(name):
    """Return what a reader sees of a text: as it is, where it has no control characters."""
    text = ast.literal_eval(PAYLOADS[name][0]) if "*" not in PAYLOADS[name][0] else ""
    return text if text.isprintable() else ""
