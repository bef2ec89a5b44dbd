# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# IPython's shell has no types.
"""Magics: ``%%trace``. Each has a function that does the same, for notebooks without magics."""

from __future__ import annotations

from typing import Any

from nbtool.runtime.door import run
from nbtool.views.watching import trace


def install(shell: Any) -> None:
    """Let cells use the magics."""

    def trace_cell(line: str, cell: str) -> Any:  # noqa: ARG001 - what a magic is called with
        """Show the calls of this cell while they run, whatever ``show_trace`` says.

        ``with nbtool.trace():`` does the same.
        """
        with trace():
            source = shell.transform_cell(cell)
            ran = run(shell.run_cell_async(cell, transformed_cell=source))
        ran.raise_error()
        return ran.result

    shell.register_magic_function(trace_cell, "cell", "trace")


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.magics_manager.magics["cell"].pop("trace", None)
