"""``%nbtool`` in a cell: what nbtool is set to and does."""

from __future__ import annotations

import pytest

pytestmark = pytest.mark.kernel

LM = """
from nbtool.testing import DummyLM
class Waits(nbtool.Module):
    async def aforward(self): await asyncio.sleep(30)
"""


def test_status_tells_of_lm_place_and_running_calls(notebook):
    notebook.run(LM + "nbtool.configure(lm=DummyLM([]), max_usd=3)\ncall = Waits().acall()")
    cell = notebook.run("%nbtool")
    notebook.run("nbtool.configure(lm=None, max_usd=None)\nnbtool.stop()")

    assert cell.status == "ok", cell.traceback
    for part in ("DummyLM", "Jupyter kernel", "<Call Waits: running", "max_usd: 0 of 3 USD"):
        assert part in cell.result_text
    assert notebook.run("repr(nbtool.status())").result_text.count("nothing") == 1


@pytest.mark.parametrize(
    ("line", "shows"),
    [("doctor", "not here"), ("trace", "Trace"), ("settings", "num_threads"), ("stop", "0")],
)
def test_overviews_show_what_their_functions_do(notebook, line, shows):
    assert shows.lower() in notebook.run(f"%nbtool {line}").result_text.lower()


def test_unknown_overview_names_the_known_ones(notebook):
    cell = notebook.run("%nbtool nonsense")
    assert cell.error_name == "InputError"
    assert "status, doctor, trace, settings, stop" in cell.error_value


def test_names_of_overviews_are_completed(notebook):
    code = "get_ipython().complete('do', '%nbtool do', 10)[1]"
    assert "doctor" in notebook.run(code).result_text
