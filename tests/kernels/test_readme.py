"""The README's program runs as it is written: in a script, and in a cell."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from nbtool.testing.kernel import Kernel

pytestmark = pytest.mark.kernel

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAMS = re.findall(
    r"```python\n(.*?)```", (CHECKOUT / "README.md").read_text("utf-8"), re.DOTALL
)


def test_the_readme_has_a_program():
    assert any("nbtool.ReAct" in program for program in PROGRAMS)


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program_runs_as_a_script(program, tmp_path):
    file = tmp_path / "app.py"
    file.write_text(program)
    done = subprocess.run(  # noqa: S603 - our own program
        [sys.executable, str(file)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "get_weather" in done.stdout


@pytest.mark.parametrize("program", PROGRAMS, ids=range(len(PROGRAMS)))
def test_program_runs_in_a_cell(program, kernel_python):
    with Kernel(kernel_python, import_from=[CHECKOUT]) as kernel:
        cell = kernel.run(program, timeout_s=120)
    assert cell.status == "ok", cell.traceback
    assert "get_weather" in cell.stdout
