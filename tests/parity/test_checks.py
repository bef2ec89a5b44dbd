"""What differs between a notebook and a script is found; what does not is left alone."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from nbtool.errors import InputError
from nbtool.parity.checks import check
from nbtool.parity.comparing import compare

CHECKOUT = Path(__file__).resolve().parents[2]
PROGRAM = """\
import asyncio
import nbtool
from nbtool.testing import DummyLM

nbtool.configure(lm=DummyLM([{"answer": "Paris"}] * 9))
qa = nbtool.Predict("question -> answer")"""
ASKS = 'print(qa(question="Capital of France?").answer)'
MAIN = 'async def main():\n    print((await qa.acall(question="?")).answer)'

# Each notebook has one difference; where it is, is part of what is expected.
SEEDED = {
    "await": ([PROGRAM, 'await qa.acall(question="?")'], "top-level-await", "cell 2, line 1"),
    "async for": (
        [PROGRAM, 'async for piece in qa.acall(question="?").stream():\n    print(piece)'],
        "top-level-await",
        "cell 2, line 1",
    ),
    "line magic": ([PROGRAM, f"%matplotlib inline\n{ASKS}"], "magic", "cell 2, line 1"),
    "cell magic": ([PROGRAM, f"%%time\n{ASKS}"], "magic", "cell 2, line 1"),
    "shell": ([PROGRAM, "files = !ls\nprint(files)"], "shell", "cell 2, line 1"),
    "below": (
        [PROGRAM, ASKS, "print(city)", 'city = "Oslo"'],
        "name-before-cell",
        "cell 3, line 1",
    ),
    "order": ([PROGRAM, (ASKS, 7), (ASKS, 3)], "execution-order", "cell 3, line 1"),
    "get_ipython": ([PROGRAM, "print(get_ipython().banner)"], "ipython-name", "cell 2, line 1"),
    "display": ([PROGRAM, f"x = 1\ndisplay(x)\n{ASKS}"], "ipython-name", "cell 2, line 2"),
    "not awaited": (
        [PROGRAM, 'call = qa.acall(question="?")\ncall'],
        "not-awaited",
        "cell 2, line 1",
    ),
    "task": (
        [PROGRAM, MAIN, "task = asyncio.get_running_loop().create_task(main())"],
        "task-left",
        "cell 3, line 1",
    ),
    "asyncio.run": ([PROGRAM, MAIN, "asyncio.run(main())"], "asyncio-run", "cell 3, line 1"),
    "file": (
        [PROGRAM, "from pathlib import Path\nprint(Path(__file__).parent)"],
        "file-name",
        "cell 2, line 2",
    ),
    "arguments": (
        [PROGRAM, "import argparse\nargparse.ArgumentParser().parse_args()"],
        "arguments",
        "cell 2, line 2",
    ),
    "signals": (
        [PROGRAM, "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)"],
        "signal-handler",
        "cell 2, line 2",
    ),
    "syntax": ([PROGRAM, "print('a'\n"], "syntax", "cell 2, line 1"),
}


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook; a cell is its source, or that with its execution count."""

    def written(cells, name="app.ipynb"):
        file = tmp_path / name
        pairs = [cell if isinstance(cell, tuple) else (cell, None) for cell in cells]
        code = [
            {"cell_type": "code", "source": source, "execution_count": count}
            for source, count in pairs
        ]
        file.write_text(json.dumps({"cells": code, "metadata": {}, "nbformat": 4}))
        return file

    return written


@pytest.mark.parametrize(("cells", "code", "place"), SEEDED.values(), ids=SEEDED)
def test_the_one_difference_of_a_notebook_is_found_and_no_other(notebook, cells, code, place):
    report = check(notebook(cells))
    assert [(each.code, each.place) for each in report.findings] == [(code, place)], str(report)


CLEAN = {
    "sync": [PROGRAM, ASKS],
    "functions use what comes later": [PROGRAM, "def f():\n    return later", "later = 1\nf()"],
    "defaults, comprehensions and classes": [
        "class A:\n    x = 1\n    def f(self, y=x):\n        return [y for y in range(y)]\nA().f()"
    ],
    "call that is gathered": [
        PROGRAM + '\ncall = qa.acall(question="?")\nprint(nbtool.run(call).answer)'
    ],
    "call with result()": [PROGRAM, 'call = qa.acall(question="?")', "print(call.result().answer)"],
    "display that is imported": ["from IPython.display import display\ndisplay(1)"],
    "await in a function": [PROGRAM, MAIN],
    "a name that a cell makes again": ["x = 1", "print(x)", "x = 2"],
    "empty": [],
    "a percent sign": ["x = 7\nprint(x\n%2)"],
}


@pytest.mark.parametrize("cells", CLEAN.values(), ids=CLEAN)
def test_nothing_is_found_where_both_forms_do_the_same(notebook, cells):
    assert not check(notebook(cells)), str(check(notebook(cells)))


@pytest.mark.parametrize("path", sorted((CHECKOUT / "docs" / "guide").glob("*.py")))
def test_the_guides_programs_are_the_same_in_both_forms(path):
    assert not check(path)


def test_a_script_is_looked_at_for_what_a_kernel_does_otherwise(tmp_path):
    file = tmp_path / "app.py"
    file.write_text("import sys\nprint(__file__, sys.argv)\nawait main()\n")
    found = {(each.code, each.place) for each in check(file).findings}
    assert found == {
        ("file-name", "line 2"),
        ("arguments", "line 2"),
        ("top-level-await", "line 3"),
    }


HOSTILE = {
    "no JSON": "{",
    "no notebook": "[1, 2]",
    "no cells": "{}",
    "deep": "[" * 100_000,
    "cells of another kind": '{"cells": 3}',
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_a_damaged_notebook_is_a_clear_error(tmp_path, text):
    file = tmp_path / "x.ipynb"
    file.write_text(text)
    with pytest.raises(InputError, match="no notebook"):
        check(file)


@pytest.mark.parametrize("source", ["\x00", "(" * 5_000, "x = " + "-" * 50_000 + "1", "\\"])
def test_a_cell_that_python_cannot_read_is_a_finding(notebook, source):
    assert [each.code for each in check(notebook([source])).findings] == ["syntax"]


def test_both_forms_ask_the_same_of_one_recording(notebook):
    compared = compare(notebook([PROGRAM, ASKS]))
    assert not compared, str(compared)
    assert "The traces are the same." in str(compared)


def test_forms_that_do_not_do_the_same_are_told_apart(notebook):
    asks = 'print(qa(question="In IPython?" if "get_ipython" in dir(__builtins__) else "?").answer)'
    compared = compare(notebook([PROGRAM, asks]))
    assert compared
    assert "ReplayMismatchError" in str(compared) or "asked another thing" in str(compared)


def test_command_says_what_differs_and_what_to_do(notebook):
    file = notebook(SEEDED["await"][0])
    command = [sys.executable, "-m", "nbtool", "check", str(file)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
    assert said.returncode == 1
    assert "cell 2, line 1" in said.stdout
    assert "Hint: Put it into `async def main()`" in said.stdout

    as_json = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False)  # noqa: S603
    assert json.loads(as_json.stdout)["findings"][0]["code"] == "top-level-await"
