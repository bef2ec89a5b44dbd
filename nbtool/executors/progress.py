# pyright: reportMissingModuleSource=false, reportMissingTypeStubs=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUntypedBaseClass=false, reportUnknownArgumentType=false, reportMissingTypeArgument=false
# tqdm has no types; nothing unknown leaves this file.
"""`Bar`: a line that says how far rows have come, in a notebook and in a terminal.

It is text in both: a line of text stays in a saved notebook as it was at the end, while the widget
of a notebook is gone there, or shows an error.
"""

from __future__ import annotations

import os
import sys
import threading
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from nbtool.runtime import cells

if TYPE_CHECKING:
    from typing import TextIO

is_row: ContextVar[bool] = ContextVar("nbtool_is_row", default=False)
"""Whether the calling code runs for a row: only the outermost of nested runs shows a line."""

_USUAL_COLUMNS, _USUAL_ROWS = 90, 20
_CELL_INTERVAL_S = 0.5  # a notebook keeps every state of the line until the page tidies up
_TERMINAL_INTERVAL_S = 0.1
# tqdm's own lock is one for processes too, for which Python may start another process.
_drawing = threading.RLock()


class Bar:
    """Count rows, and show them where a person may look.

    That is a notebook, or a terminal; not a file, and not below a row of another run.

    Args:
        label: What is run.
        total: How many rows there are; None: nobody knows.
        is_wanted: False counts without showing anything.
    """

    def __init__(self, label: str, total: int | None, *, is_wanted: bool = True) -> None:
        self._failed = 0
        self._line: Any = None
        stream = sys.stdout if cells.in_kernel() else sys.stderr
        if is_wanted and not is_row.get() and _has_reader(stream):
            self._line = _line(label, total, stream)

    def advance(self, *, has_failed: bool = False, note: str = "") -> None:
        """Take note that a row has ended.

        Args:
            has_failed: Whether its program failed.
            note: What to say behind the count from now on.
        """
        self._failed += has_failed
        words = [note] if note else []
        words += [f"{self._failed:,} failed"] if self._failed else []
        self._draw("set_postfix_str", ", ".join(words), False)
        self._draw("update")

    def close(self) -> None:
        """Leave the line as it is."""
        self._draw("close")
        self._line = None

    def _draw(self, method: str, *args: Any) -> None:
        if self._line is None:
            return
        try:
            getattr(self._line, method)(*args)
        except Exception:  # noqa: BLE001 - a stream that is closed must not end the rows
            self._line = None


def _has_reader(stream: TextIO | None) -> bool:
    if stream is None or stream.closed:
        return False
    return cells.in_kernel() or stream.isatty()


def _columns(stream: TextIO) -> int:
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (OSError, ValueError):
        return 0  # as a terminal says whose size nobody has set; tqdm would draw nothing


def _line(label: str, total: int | None, stream: TextIO) -> Any:
    from tqdm.std import tqdm

    class Line(tqdm):
        monitor_interval = 0  # no thread of its own
        _lock = _drawing

    in_cell = cells.in_kernel()
    follows_width = not in_cell and _columns(stream) > 0
    return Line(
        desc=label,
        total=total,
        file=stream,
        unit=" rows",
        ncols=None if follows_width else _USUAL_COLUMNS,
        nrows=None if follows_width else _USUAL_ROWS,
        dynamic_ncols=follows_width,
        mininterval=_CELL_INTERVAL_S if in_cell else _TERMINAL_INTERVAL_S,
    )
