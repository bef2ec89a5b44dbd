"""What the page's side may not do, whatever a kernel sends: held to it by its own text."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import nbtool

STATIC = Path(nbtool.__file__).parent / "views" / "static"
SCRIPT = (STATIC / "trace.js").read_text("utf-8")
STYLES = (STATIC / "trace.css").read_text("utf-8")

BANNED = {
    "innerHTML": r"\b(inner|outer)HTML\b",
    "insertAdjacentHTML": r"\binsertAdjacentHTML\b",
    "setHTML": r"\bsetHTML(Unsafe)?\b",
    "document.write": r"\bdocument\s*\.\s*write",
    "createContextualFragment": r"\bcreateContextualFragment\b|\bDOMParser\b",
    "eval": r"\beval\s*\(",
    "new Function": r"\bFunction\s*\(",
    "srcdoc": r"\bsrcdoc\b",
    "href": r"\bhref\b|\.src\b|[\"']src[\"']",
    "import": r"\bimport\s*[(\"'{*]|^import\b",
    "fetch": r"\bfetch\s*\(|\bXMLHttpRequest\b|\bWebSocket\b|\bsendBeacon\b",
    "cssText": r"\bcssText\b|\binsertRule\b",
    "setTimeout of a text": r"\bset(Timeout|Interval)\s*\(\s*[\"'`]",
    "attribute named by data": r"\b(set|toggle)Attribute(NS)?\s*\(\s*(?![\"'])",
    "element named by data": r"(?<!@param )\bcreateElement(NS)?\s*\(\s*(?![\"']|tag\))",
    "made of data": r"(?<!function )\bmake\(\s*(?![\"']|tag,)",
}
SAMPLES = {
    "innerHTML": "row.innerHTML = text",
    "insertAdjacentHTML": "row.insertAdjacentHTML('beforeend', text)",
    "setHTML": "row.setHTMLUnsafe(text)",
    "document.write": "document.write(text)",
    "createContextualFragment": "new DOMParser()",
    "eval": "eval(text)",
    "new Function": "new Function(text)",
    "srcdoc": "frame.srcdoc = text",
    "href": "link.href = text",
    "import": "await import(text)",
    "fetch": "fetch(text)",
    "cssText": "row.style.cssText = text",
    "setTimeout of a text": "setTimeout('steal()', 1)",
    "attribute named by data": "row.setAttribute(name, text)",
    "element named by data": "document.createElement(name)",
    "made of data": "make(name, '')",
}


@pytest.mark.parametrize("what", BANNED)
def test_script_never_makes_code_or_elements_of_data(what):
    assert re.search(BANNED[what], SAMPLES[what])

    assert re.findall(BANNED[what], SCRIPT, re.MULTILINE) == []


@pytest.mark.parametrize("what", [r"url\s*\(", r"@import", r"expression\s*\(", r"@font-face"])
def test_styles_ask_for_nothing_from_elsewhere(what):
    assert re.findall(what, STYLES) == []


def test_styles_concern_the_view_alone():
    """A selector that is not below the view's own class would change the whole notebook."""
    plain = re.sub(r"/\*.*?\*/", "", STYLES, flags=re.DOTALL)
    selectors = [found.strip() for found in re.findall(r"(?:^|[{}])\s*([^@{}]+?)\s*\{", plain)]
    strangers = [each for each in selectors if ".nbt" not in each and not _is_keyframe(each)]

    assert strangers == []


def _is_keyframe(selector: str) -> bool:
    return re.fullmatch(r"(from|to|\d+%)", selector) is not None
