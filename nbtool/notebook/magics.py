# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# IPython's shell has no types.
"""Magics: ``%%trace`` and ``%%debug_chain``.

Each has a function that does the same, for notebooks without magics.
"""

from __future__ import annotations

from typing import Any

from nbtool.debugging.attaching import debug_calls
from nbtool.runtime.door import run
from nbtool.views.watching import trace


def install(shell: Any) -> None:
    """Let cells use the magics."""

    def run_cell(cell: str) -> Any:
        source = shell.transform_cell(cell)
        ran = run(shell.run_cell_async(cell, transformed_cell=source))
        ran.raise_error()
        return ran.result

    def trace_cell(line: str, cell: str) -> Any:  # noqa: ARG001 - what a magic is called with
        """Show the calls of this cell while they run, whatever ``show_trace`` says.

        ``with nbtool.trace():`` does the same.
        """
        with trace():
            return run_cell(cell)

    def debug_cell(line: str, cell: str) -> Any:
        """Run the calls of this cell under the debugger; names on the line are breakpoints.

        ``with nbtool.debug_calls("weather", "lm"):`` does the same.
        """
        with debug_calls(*line.replace(",", " ").split()):
            return run_cell(cell)

    shell.register_magic_function(trace_cell, "cell", "trace")
    shell.register_magic_function(debug_cell, "cell", "debug_chain")


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    for name in ("trace", "debug_chain"):
        shell.magics_manager.magics["cell"].pop(name, None)
