# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false
# IPython's shell has no types.
"""Magics: ``%nbtool``, ``%%trace`` and ``%%debug_chain``.

Each has a function that does the same, for notebooks without magics.
"""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from nbtool.checkup import doctor
from nbtool.configuration import settings
from nbtool.debugging.attaching import debug_calls
from nbtool.errors import InputError
from nbtool.notebook.overview import status
from nbtool.runtime.door import run
from nbtool.runtime.inflight import stop
from nbtool.views.watching import last_trace, trace

if TYPE_CHECKING:
    from collections.abc import Callable, Generator


_OVERVIEWS: dict[str, Callable[[], Any]] = {
    "status": status,
    "doctor": doctor,
    "trace": last_trace,
    "settings": lambda: settings,
    "stop": stop,
}


def _completions(_shell: Any, event: Any) -> list[str]:
    return [name for name in _OVERVIEWS if name.startswith(event.symbol)]


def install(shell: Any) -> None:
    """Let cells use the magics."""

    def trace_cell(line: str, cell: str) -> Any:  # noqa: ARG001 - what a magic is called with
        """Show the calls of this cell while they run, whatever ``show_trace`` says.

        ``with nbtool.trace():`` does the same.
        """
        with trace():
            return _result_of(shell, cell)

    def debug_cell(line: str, cell: str) -> Any:
        """Run the calls of this cell under the debugger; names on the line are breakpoints.

        ``with nbtool.debug_calls("weather", "lm"):`` does the same.
        """
        with debug_calls(*line.replace(",", " ").split()):
            return _result_of(shell, cell)

    def overview(line: str) -> Any:
        """Show what nbtool is set to and does.

        ``%nbtool doctor`` shows what this place is and what would not work here, ``%nbtool
        trace`` the latest trace, ``%nbtool settings`` all settings, ``%nbtool stop`` ends all
        calls. `nbtool.status`, `doctor`, `last_trace`, `settings` and `stop` do the same.
        """
        chosen = line.strip() or "status"
        if chosen not in _OVERVIEWS:
            raise InputError(
                f"%nbtool {chosen} is unknown.", hint=f"There are: {', '.join(_OVERVIEWS)}."
            )
        return _OVERVIEWS[chosen]()

    shell.register_magic_function(overview, "line", "nbtool")
    shell.set_hook("complete_command", _completions, str_key="%nbtool")
    shell.register_magic_function(trace_cell, "cell", "trace")
    shell.register_magic_function(debug_cell, "cell", "debug_chain")


def uninstall(shell: Any) -> None:
    """Undo `install`."""
    shell.magics_manager.magics["line"].pop("nbtool", None)
    for name in ("trace", "debug_chain"):
        shell.magics_manager.magics["cell"].pop(name, None)


def _result_of(shell: Any, cell: str) -> Any:
    """Run a cell inside the running one; an error is shown once, as the inner cell shows it."""
    with _kept_tracebacks(shell) as kept:
        ran = run(shell.run_cell_async(cell, transformed_cell=shell.transform_cell(cell)))
    error = ran.error_before_exec or ran.error_in_exec
    if error is None:
        return ran.result
    if kept:
        with contextlib.suppress(AttributeError):  # an error with slots: its frames are shown
            error._render_traceback_ = lambda: kept[-1]
    raise error


@contextlib.contextmanager
def _kept_tracebacks(shell: Any) -> Generator[list[list[str]]]:
    """Keep what IPython would show of errors in this thread: who runs the outer cell shows it."""
    kept: list[list[str]] = []
    here, show = threading.get_ident(), shell._showtraceback  # noqa: SLF001 - the one place that all kinds of errors pass

    def keep(etype: Any, evalue: Any, stb: list[str]) -> None:
        if threading.get_ident() == here:
            kept.append(stb)
        else:
            show(etype, evalue, stb)

    own = vars(shell)
    before = own.get("_showtraceback")
    own["_showtraceback"] = keep
    try:
        yield kept
    finally:
        del own["_showtraceback"]
        if before is not None:
            own["_showtraceback"] = before
