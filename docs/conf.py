"""Sphinx: what `make docs` reads. Tutorials, the reference and the errors page are made anew."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(HERE))

if TYPE_CHECKING:
    from sphinx.application import Sphinx

project = "nbtool"
author = "The nbtool developers"
extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["adr/template.md", "examples", "guide"]

html_theme = "furo"
html_title = "nbtool"
html_copy_source = False

# The tutorials' outputs are committed, and compared by `make notebooks`.
nb_execution_mode = "off"
nb_mime_priority_overrides = [("html", "text/html", 1), ("html", "text/plain", 2)]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_custom_sections = [("Source", "notes_style")]
# Docstrings name things in single backquotes, as prose does.
default_role = "code"
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type"]


def make_pages(_: Sphinx) -> None:
    """Write what follows from the code, and take the tutorials in."""
    import generated

    made = HERE / "generated_pages"
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir()
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        text = notebook.read_text(encoding="utf-8").replace("](../docs/", "](../")
        (made / notebook.name).write_text(text, encoding="utf-8")
    (made / "reference.md").write_text(generated.reference(), encoding="utf-8")
    (made / "errors.md").write_text(generated.errors_page(), encoding="utf-8")


def setup(app: Sphinx) -> None:
    """Make the pages before Sphinx looks for them."""
    app.connect("config-inited", lambda app, _config: make_pages(app))
