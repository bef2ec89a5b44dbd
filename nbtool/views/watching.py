"""`trace` and `last_trace`: getting at what happened, and seeing it while it happens."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING

from nbtool.tracing import tree
from nbtool.tracing.boundary import watching
from nbtool.tracing.process import process_recorder
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace, subtree

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rich.console import Console
    from rich.live import Live

    from nbtool.tracing.record import SpanRecord
    from nbtool.views.model import Row

_REFRESHES_PER_S = 12


@contextlib.contextmanager
def trace(*, live: bool = False, console: Console | None = None) -> Generator[Trace]:
    """Record the calls that start inside the ``with`` block.

    Args:
        live: Draw the tree in the terminal while the calls run; LMs then stream their answers,
            so that tokens can be seen as they arrive.
        console: Where to draw; standard error by default.

    Yields:
        The trace; it grows while calls run, and stays when the block has ended.

    Example:
        >>> import nbtool
        >>> def shout(text):
        ...     return text.upper()
        >>> with nbtool.trace() as t:
        ...     nbtool.Tool(shout)(text="abc")
        'ABC'
        >>> t.spans[0].kind, t.spans[0].name, t.spans[0].output
        ('tool', 'shout', 'ABC')
    """
    recorder = Recorder(wants_tokens=live)
    recorded = Trace(recorder.records, lambda: recorder.dropped)
    with contextlib.ExitStack() as stack:
        if live:
            stack.enter_context(_live(recorded, console))
        stack.enter_context(watching(recorder))
        yield recorded


def _live(recorded: Trace, console: Console | None) -> Live:
    from rich.console import Console
    from rich.live import Live

    from nbtool.views import text

    chosen = console or Console(stderr=True)
    finished: dict[int, Row] = {}
    return Live(
        get_renderable=lambda: text.tree(recorded.spans, now_s=time.time(), finished=finished),
        console=chosen,
        refresh_per_second=_REFRESHES_PER_S,
        # What the program prints must reach a pipe as it is; only on the same screen as the tree
        # it has to go above it.
        redirect_stdout=sys.stdout.isatty() and chosen.is_terminal,
        redirect_stderr=chosen.is_terminal,
    )


def last_trace() -> Trace:
    """Return the trace of the root call that started last in this process.

    Returns:
        The trace; empty where nothing was called yet.
    """
    root_id = process_recorder.last_root_id()
    if root_id is None:
        return Trace.of([])
    return Trace(lambda: subtree(process_recorder.records(), root_id))


def _plain(spans: Sequence[SpanRecord]) -> str:
    from nbtool.views import text

    return text.plain(spans)


tree.draw_with(_plain)
