"""What to look for: each check reads the cells and gives its findings."""

from __future__ import annotations

import ast
import builtins
import itertools
from typing import TYPE_CHECKING, Any

from nbtool.parity.findings import Finding, Report
from nbtool.parity.names import bound_in, runs_at_once, used_in
from nbtool.parity.sources import Parsed, cells_of, parsed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_MAIN = "Put it into `async def main()`, or run the file with `nbtool run`."
_NO_MAGIC = "Call a function that does the same, or leave it out of the script."
_OF_IPYTHON = {"get_ipython", "display", "In", "Out", "_", "__", "___", "_ih", "_oh"}
_STARTING = {"acall"}
_TASKS = {"create_task", "ensure_future"}
_WAITING = {"result", "stream"}  # attributes of a call that wait for it
_MAGICS = {"run_line_magic", "run_cell_magic"}
_SHELL = {"system", "getoutput"}


def check(path: str | Path) -> Report:
    """Say what in a notebook would behave differently as a script, or the reverse.

    Nothing is run. That the value of a cell's last line is shown in a notebook and not by a
    script is left out: it is so in nearly every cell.

    Args:
        path: An ``.ipynb`` or ``.py`` file.

    Returns:
        The findings, in the order of the file.

    Raises:
        InputError: The file cannot be read.
    """
    cells = [parsed(cell) for cell in cells_of(path)]
    is_notebook = not cells or bool(cells[0].cell.number)
    found = list(_found_in(cells) if is_notebook else _found_in_script(cells[0]))
    order = {cell.place(node): at for at, (cell, node) in enumerate(_nodes(cells))}
    found.sort(key=lambda finding: order.get(finding.place, -1))
    return Report(str(path), tuple(found))


def _nodes(cells: list[Parsed]) -> Iterator[tuple[Parsed, ast.AST]]:
    for cell in cells:
        for node in ast.walk(cell.tree):
            yield cell, node


def _found_in(cells: list[Parsed]) -> Iterator[Finding]:
    bound = set[str]().union(*(bound_in(cell.tree) for cell in cells))
    for cell in cells:
        yield from _unreadable(cell)
        yield from _magics(cell)
        yield from _awaits(cell)
        yield from _names_of_ipython(cell, bound)
        yield from _names_of_scripts(cell)
        yield from _own_loops(cell)
    yield from _names_before_their_cell(cells)
    yield from _counts(cells)
    yield from _left_alone(cells)


def _found_in_script(script: Parsed) -> Iterator[Finding]:
    yield from _unreadable(script)
    yield from _awaits(script)
    yield from _names_of_scripts(script)


def _unreadable(cell: Parsed) -> Iterator[Finding]:
    if cell.error is None:
        return
    line = (cell.error.lineno or 1) + cell.shift
    what = f"this is no Python: {cell.error.msg}"
    yield Finding("syntax", cell.cell.place(line), what, "Neither form runs; mend it.")


def _magics(cell: Parsed) -> Iterator[Finding]:
    if cell.body_of:
        what = f"%%{cell.body_of} is a magic of IPython"
        yield Finding("magic", cell.cell.place(1), what, _NO_MAGIC)
    for node in ast.walk(cell.tree):
        name = _method_of_ipython(node)
        if name == "run_line_magic" and "get_ipython" not in cell.cell.source:
            call: Any = node
            what = f"%{call.args[0].value} is a magic of IPython"
            yield Finding("magic", cell.place(node), what, _NO_MAGIC)
        elif name in _SHELL and "get_ipython" not in cell.cell.source:
            what = "a line with ! runs in a shell, and is no Python"
            hint = "Use subprocess.run([...]), or install what is needed beforehand."
            yield Finding("shell", cell.place(node), what, hint)


def _method_of_ipython(node: ast.AST) -> str:
    """Return what is called of ``get_ipython()``; empty for anything else."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return ""
    made = node.func.value
    is_shell = isinstance(made, ast.Call) and _name_of(made.func) == "get_ipython"
    return node.func.attr if is_shell else ""


def _awaits(cell: Parsed) -> Iterator[Finding]:
    for node in runs_at_once(cell.tree):
        if isinstance(node, ast.Await | ast.AsyncFor | ast.AsyncWith):
            what = "`await` outside of a function is a SyntaxError in a script"
            if not cell.cell.number:
                what = "`await` outside of a function runs in a cell, and not by `python`"
            yield Finding("top-level-await", cell.place(node), what, _MAIN)
            return


def _names_of_ipython(cell: Parsed, bound: set[str]) -> Iterator[Finding]:
    of_magics: set[int] = set()
    if "get_ipython" not in cell.cell.source:
        calls: list[Any] = [n for n in ast.walk(cell.tree) if _method_of_ipython(n)]
        of_magics = {id(call.func.value.func) for call in calls}
    for node in ast.walk(cell.tree):
        name = _name_of(node)
        if name not in _OF_IPYTHON - bound or id(node) in of_magics:
            continue
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            hint = "Import it, or do without it: `from IPython.display import display`."
            if name != "display":
                hint = "Ask `get_ipython` only where IPython runs; give results names of their own."
            yield Finding("ipython-name", cell.place(node), f"{name} is IPython's", hint)


def _names_of_scripts(cell: Parsed) -> Iterator[Finding]:
    for node in ast.walk(cell.tree):
        if _name_of(node) == "__file__":
            hint = "Use a path from the working directory, or pathlib.Path.cwd()."
            yield Finding("file-name", cell.place(node), "a notebook has no __file__", hint)
        elif _dotted(node) == "sys.argv" or _is_parse_args(node):
            what = "a kernel's sys.argv are its own arguments"
            hint = "Give values by a cell or a function's arguments; parse_args(args=[...])."
            yield Finding("arguments", cell.place(node), what, hint)
        elif isinstance(node, ast.Call) and _dotted(node.func) == "signal.signal":
            what = "a kernel puts its own signal handlers back after each cell"
            hint = "Catch KeyboardInterrupt, or cancel tasks, instead."
            yield Finding("signal-handler", cell.place(node), what, hint)


def _is_parse_args(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call) or node.args or node.keywords:
        return False
    return isinstance(node.func, ast.Attribute) and node.func.attr == "parse_args"


def _own_loops(cell: Parsed) -> Iterator[Finding]:
    for node in ast.walk(cell.tree):
        called = _dotted(node.func) if isinstance(node, ast.Call) else ""
        if called == "asyncio.run" or called.endswith(".run_until_complete"):
            what = f"{called}() in a cell works by nbtool alone, on the loop that runs there"
            hint = "`await main()` in a cell; keep asyncio.run(main()) for the script."
            yield Finding("asyncio-run", cell.place(node), what, hint)


def _names_before_their_cell(cells: list[Parsed]) -> Iterator[Finding]:
    bound = [bound_in(cell.tree) for cell in cells]
    first: dict[str, int] = {}
    for at, names in enumerate(bound):
        for name in names:
            first.setdefault(name, at)
    known = set(dir(builtins)) | _OF_IPYTHON | {"__name__", "__file__", "__doc__"}
    for at, cell in enumerate(cells):
        known |= bound[at]
        for node in used_in(cell.tree):
            if node.id in known or first.get(node.id, -1) <= at:
                continue
            maker = cells[first[node.id]].cell.number
            what = f"{node.id} is made only by cell {maker}, below this one"
            hint = "Move that cell up: a script runs from top to bottom."
            yield Finding("name-before-cell", cell.place(node), what, hint)
            known.add(node.id)


def _counts(cells: list[Parsed]) -> Iterator[Finding]:
    counted = [cell.cell for cell in cells if cell.cell.count is not None]
    for above, below in itertools.pairwise(counted):
        if (below.count or 0) <= (above.count or 0):
            what = f"cell {below.number} ran as [{below.count}], before cell {above.number}"
            hint = "Restart the kernel, run all cells, and look whether the results are the same."
            yield Finding("execution-order", below.place(1), what, hint)
            return


def _left_alone(cells: list[Parsed]) -> Iterator[Finding]:
    waited = set[str]().union(*(_waited_for(cell.tree) for cell in cells))
    for cell in cells:
        for statement in cell.tree.body:
            value: Any = getattr(statement, "value", None)
            called = _last_name(value.func) if isinstance(value, ast.Call) else ""
            names = {_name_of(each) for each in getattr(statement, "targets", ())}
            if names & waited or not isinstance(statement, ast.Expr | ast.Assign):
                continue
            if called in _STARTING:
                what = "a cell starts this call at once; a script never does, for nobody awaits it"
                yield Finding("not-awaited", cell.place(statement), what, "Await it.")
            elif called in _TASKS:
                what = "this task goes on in a kernel; a script ends without waiting for it"
                hint = "Keep the task, and await it before the program ends."
                yield Finding("task-left", cell.place(statement), what, hint)


def _waited_for(tree: ast.Module) -> set[str]:
    """Return the names that something is done with: more than to look at them."""
    looked_at: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) or (
            isinstance(node, ast.Attribute) and node.attr not in _WAITING
        ):
            looked_at.add(id(node.value))
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name)
        and isinstance(node.ctx, ast.Load)
        and id(node) not in looked_at
    }


def _name_of(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _last_name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else _name_of(node)


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return _name_of(node)
