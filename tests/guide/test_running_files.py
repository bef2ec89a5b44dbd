"""`nbtool run` and `nbtool trace`, as programs of their own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nbtool.tracing.chrome import to_chrome
from nbtool.tracing.tree import Trace

PROGRAM = """
import sys
import nbtool
from nbtool.testing import DummyLM

nbtool.configure(lm=DummyLM([{"answer": "Paris"}] * 9))
qa = nbtool.Predict("question -> answer")
"""


@pytest.fixture(scope="module")
def command(fresh):
    """Run the command; colours are off."""

    def command(*arguments):
        return subprocess.run(  # noqa: S603 - our own interpreter and sources
            [sys.executable, "-m", "nbtool", *map(str, arguments)],
            env={**fresh, "NO_COLOR": "1", "TERM": "dumb"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


@pytest.fixture
def script(tmp_path):
    """Write a script; `tail` is its own part."""

    def written(tail):
        file = tmp_path / "app.py"
        file.write_text(PROGRAM + tail)
        return file

    return written


def test_script_awaits_outside_of_functions_and_shows_its_calls(command, script):
    tail = "print((await qa.acall(question='x')).answer, qa(question='y').answer, sys.argv[1:])"
    said = command("run", script(tail), "--mode", "3")
    assert (said.returncode, said.stdout) == (0, "Paris Paris ['--mode', '3']\n")
    assert "Predict  predict" in said.stderr


def test_script_is_the_main_program_and_its_error_is_shown_as_pythons(command, script):
    file = script("if __name__ == '__main__':\n    raise ValueError('boom')\n")
    said = command("run", "--no-tree", file)
    plain = subprocess.run([sys.executable, file], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    assert (said.returncode, said.stderr) == (plain.returncode, plain.stderr)


@pytest.mark.parametrize(
    ("tail", "status"),
    [("sys.exit(3)", 3), ("sys.exit('no')", 1), ("raise KeyboardInterrupt", 130), ("x = (", 1)],
    ids=["status", "text", "Ctrl-C", "syntax"],
)
def test_exit_status_is_the_scripts_own(command, script, tail, status):
    assert command("run", "--no-tree", script(tail)).returncode == status


@pytest.fixture
def notebook(tmp_path):
    """Write a notebook of some code cells."""

    def written(*sources):
        cells = [{"cell_type": "code", "source": [source], "metadata": {}} for source in sources]
        file = tmp_path / "lesson.ipynb"
        file.write_text(json.dumps({"nbformat": 4, "cells": cells}))
        return file

    return written


def test_notebook_runs_with_magics_and_await_and_without_a_kernel(command, notebook):
    cells = [
        PROGRAM,
        "%env LESSON=1",
        "(await qa.acall(question='x')).answer",
        "!echo from $LESSON",
    ]
    said = command("run", "--no-tree", notebook(*cells))
    assert said.returncode == 0, said.stderr
    assert "Out[3]: 'Paris'" in said.stdout
    assert "from 1" in said.stdout


def test_notebook_ends_at_the_first_cell_that_fails(command, notebook):
    said = command("run", "--no-tree", notebook("print('one')", "1 / 0", "print('three')"))
    assert said.returncode == 1
    assert "one" in said.stdout
    assert "ZeroDivisionError" in said.stdout + said.stderr
    assert "three" not in said.stdout


@pytest.mark.parametrize(
    ("name", "said"), [("none.py", "There is no file"), ("x.ipynb", "is no notebook")]
)
def test_what_cannot_be_run_is_told_without_a_traceback(command, tmp_path, name, said):
    (tmp_path / "x.ipynb").write_text("{}")
    told = command("run", tmp_path / name)
    assert told.returncode == 1
    assert said in " ".join(told.stderr.split())
    assert "Traceback" not in told.stderr


@pytest.fixture
def saved(command, script, tmp_path):
    """Save the trace of a script that calls twice at once."""
    tail = "import asyncio\nawait asyncio.gather(*(qa.acall(question=q) for q in ('<b>', 'y')))\n"
    path = tmp_path / "run.jsonl"
    assert command("run", "--no-tree", "--save", path, script(tail)).returncode == 0
    return path


def test_trace_of_a_run_is_drawn_and_written_as_a_page_and_for_chrome(command, saved, tmp_path):
    page, chrome = tmp_path / "t.html", tmp_path / "t.json"
    assert "2 LM calls" in command("trace", saved).stdout
    assert command("trace", saved, "--html", page, "--chrome", chrome).returncode == 0
    assert "<b>" not in page.read_text()
    assert len(json.loads(chrome.read_text())["traceEvents"]) == len(Trace.load(saved).spans)


def test_difference_of_two_traces_is_shown_and_is_the_exit_status(command, saved, script, tmp_path):
    other = tmp_path / "other.jsonl"
    command("run", "--no-tree", "--save", other, script("await qa.acall(question='z')"))
    same, changed = (
        command("trace", saved, "--diff", saved),
        command("trace", saved, "--diff", other),
    )
    assert (same.returncode, changed.returncode) == (0, 1)
    assert "Predict" in changed.stdout


def test_steps_that_ran_at_the_same_time_have_lanes_of_their_own(saved):
    events = to_chrome(Trace.load(saved).spans)["traceEvents"]
    lanes = {}
    for event in events:
        lanes.setdefault(event["tid"], []).append((event["ts"], event["ts"] + event["dur"]))
    assert not [lane for lane, spans in lanes.items() if _crossing(spans)]


def _crossing(spans):
    pairs = [(a, b) for a in spans for b in spans if a < b]
    return [(a, b) for a, b in pairs if b[0] < a[1] < b[1]]
