"""Code cells of a notebook, or the one of a script, as Python that can be looked at."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import json
import warnings
from pathlib import Path
from typing import Any

from nbtool.errors import InputError

_MOST_BYTES = 50_000_000
_PYTHON_BODIES = ("time", "timeit", "capture", "prun", "trace", "debug_chain")


@dataclasses.dataclass(frozen=True, slots=True)
class Cell:
    """Hold one code cell.

    Attributes:
        number: Which code cell it is, from 1; 0 for a script.
        source: Its text.
        count: Its execution count in the saved notebook; None where it has none.
    """

    number: int
    source: str
    count: int | None = None

    def place(self, line: int) -> str:
        """Say where a line is."""
        return f"cell {self.number}, line {line}" if self.number else f"line {line}"


@dataclasses.dataclass(frozen=True, slots=True)
class Parsed:
    """Hold the Python of a cell.

    Attributes:
        cell: The cell.
        tree: Its syntax tree, magics and shell commands as calls of ``get_ipython()``. Empty
            where it is no Python.
        shift: How many lines were taken off its beginning.
        body_of: Name of the cell magic that the rest of the cell belongs to; else empty.
        error: Why it is no Python; None where it is.
    """

    cell: Cell
    tree: ast.Module
    shift: int = 0
    body_of: str = ""
    error: SyntaxError | None = None

    def place(self, node: ast.AST) -> str:
        """Say where a node of the tree is."""
        return self.cell.place(getattr(node, "lineno", 1) + self.shift)


def cells_of(path: str | Path) -> list[Cell]:
    """Read the code of a notebook or script.

    Args:
        path: An ``.ipynb`` file of nbformat 4, or a ``.py`` file.

    Raises:
        InputError: There is no such file, it is too large, or it is none of the two.
    """
    file = Path(path)
    if not file.is_file():
        raise InputError(f"There is no file {str(path)!r}.", hint="Check the path.")
    if file.stat().st_size > _MOST_BYTES:
        raise InputError(f"{str(path)!r} is larger than {_MOST_BYTES:,} bytes.")
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{str(path)!r} is no text: {error}.") from error
    return _cells_in(text, str(path)) if file.suffix == ".ipynb" else [Cell(0, text)]


def _cells_in(text: str, path: str) -> list[Cell]:
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, RecursionError):
        found: list[dict[str, Any]] = json.loads(text)["cells"]
        code = [cell for cell in found if cell["cell_type"] == "code"]
        return [
            Cell(number, _text(cell["source"]), _count(cell.get("execution_count")))
            for number, cell in enumerate(code, start=1)
        ]
    raise InputError(f"{path!r} is no notebook of nbformat 4.", hint="Save it again with Jupyter.")


def _text(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) else None


def parsed(cell: Cell) -> Parsed:
    """Read a cell as Python; what is none is said, not raised.

    Args:
        cell: The cell.
    """
    source, magic = cell.source, _cell_magic(cell)
    shift = 0
    if magic in _PYTHON_BODIES:
        blank, _, source = source.partition("%%")
        source = source.partition("\n")[2]
        shift = blank.count("\n") + 1
    flags = ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    nothing = ast.Module(body=[], type_ignores=[])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree: Any = compile(_as_python(cell, source), "<cell>", "exec", flags)
    except SyntaxError as error:
        return Parsed(cell, nothing, shift, magic, error)
    except (ValueError, RecursionError, MemoryError, OverflowError) as error:
        return Parsed(cell, nothing, shift, magic, SyntaxError(str(error)))
    return Parsed(cell, tree, shift, magic)


def _cell_magic(cell: Cell) -> str:
    first = cell.source.lstrip()
    if not cell.number or not first.startswith("%%"):
        return ""
    return first[2:].partition("\n")[0].partition(" ")[0].strip()


def _as_python(cell: Cell, source: str) -> str:
    if not cell.number:
        return source
    from IPython.core.inputtransformer2 import TransformerManager

    return TransformerManager().transform_cell(source)
