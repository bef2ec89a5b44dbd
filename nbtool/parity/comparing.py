"""Running both forms of a file against one recording."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbtool.errors import InputError
from nbtool.parity.sources import cells_of
from nbtool.tracing.tree import Trace

if TYPE_CHECKING:
    from nbtool.tracing.comparison import Difference

_SHOWN_CHARS = 2_000
_MOST_LINES = 60


@dataclasses.dataclass(frozen=True, slots=True)
class Form:
    """Say how one form ended.

    Attributes:
        name: ``"notebook"`` or ``"script"``.
        status: Its exit status.
        said: The end of what it wrote to standard error.
        trace: Its calls.
    """

    name: str
    status: int
    said: str
    trace: Trace


@dataclasses.dataclass(frozen=True, slots=True)
class Comparison:
    """Hold both forms; true where they differ.

    Attributes:
        first: The form that the file has: it ran for real.
        second: The other form: what the first was told stood in for models and tools.
        difference: What differs between their traces.
    """

    first: Form
    second: Form
    difference: Difference

    def __bool__(self) -> bool:
        return self.first.status != self.second.status or bool(self.difference)

    def __str__(self) -> str:
        """Write how both ended, and what differs between their traces."""
        lines: list[str] = []
        for form in (self.first, self.second):
            requests = len(form.trace.find(kind="lm"))
            lines.append(f"as a {form.name}: exit status {form.status}, LM calls: {requests}")
        if self.first.status != self.second.status:
            failed = self.second if self.second.status else self.first
            lines.append(f"the {failed.name} said:\n{failed.said}")
        differs = str(self.difference).splitlines() if self.difference else []
        lines += differs[:_MOST_LINES] or ["The traces are the same."]
        if len(differs) > _MOST_LINES:
            lines.append(f"and {len(differs) - _MOST_LINES:,} more lines")
        return "\n".join(lines)


def compare(path: str | Path) -> Comparison:
    """Run a file as it is, then its other form, and compare what they asked and got.

    The first form runs for real, and its models and tools are asked. The second gets their
    answers from the recording of the first.

    Args:
        path: An ``.ipynb`` or ``.py`` file; it is run in its own folder.

    Raises:
        InputError: The file cannot be read.
    """
    file = Path(path).resolve()
    sources = [cell.source for cell in cells_of(file)]
    is_notebook = file.suffix == ".ipynb"
    names = ("notebook", "script") if is_notebook else ("script", "notebook")
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        other = place / (f"{file.stem}.py" if is_notebook else f"{file.stem}.ipynb")
        text = "\n\n".join(sources) if is_notebook else _notebook_of(sources)
        other.write_text(text + "\n", encoding="utf-8")
        recording = place / "first.jsonl"
        first = _ran(names[0], file, file.parent, ["--save", str(recording)], recording)
        saved = place / "second.jsonl"
        options = ["--save", str(saved), "--replay", str(recording)]
        second = _ran(names[1], other, file.parent, options, saved)
    return Comparison(first, second, first.trace.diff(second.trace))


def _notebook_of(sources: list[str]) -> str:
    cells: list[dict[str, Any]] = [
        {
            "cell_type": "code",
            "execution_count": None,
            "metadata": {},
            "outputs": [],
            "source": source,
        }
        for source in sources
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 4})


def _ran(name: str, file: Path, folder: Path, options: list[str], saved: Path) -> Form:
    command = [sys.executable, "-m", "nbtool", "run", "--no-tree", *options, str(file)]
    done = subprocess.run(  # noqa: S603 - the user's own program, as asked
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False
    )
    said = done.stderr.decode(errors="replace")[-_SHOWN_CHARS:]
    if not saved.exists():
        raise InputError(f"The {name} left no trace, and said:\n{said}")
    trace = Trace.load(saved)
    spans = trace.spans  # read before the folder goes
    return Form(name, done.returncode, said, Trace(lambda: spans))
