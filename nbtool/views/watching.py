"""`trace`, `watch`, `last_trace`: getting at what happened, and seeing it while it happens."""

from __future__ import annotations

import contextlib
import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

from nbtool.configuration import settings
from nbtool.errors import ConfigurationError
from nbtool.tracing import comparison, tree
from nbtool.tracing.boundary import watching
from nbtool.tracing.process import process_recorder
from nbtool.tracing.recorder import Recorder
from nbtool.tracing.tree import Trace, subtree

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence

    from rich.console import Console
    from rich.live import Live

    from nbtool.tracing.comparison import Difference
    from nbtool.tracing.record import SpanRecord
    from nbtool.views.model import Row

_REFRESHES_PER_S = 12


class Shower(Protocol):
    """Show calls in a notebook; `nbtool.notebook` brings one."""

    def watch(self, target: Any) -> None:
        """Show a call, or the calls of a program, in the cell that runs."""
        ...

    def show(self, number: int | None) -> Any:
        """Return the view of a number, else the latest; None where there is none."""
        ...

    def forced(self) -> contextlib.AbstractContextManager[None]:
        """Show the calls that start inside, whatever the setting says."""
        ...


_shower: Shower | None = None


def show_with(shower: Shower | None) -> None:
    """Let calls be shown in a notebook; None: no more."""
    global _shower  # noqa: PLW0603 - one kernel a process
    _shower = shower


@contextlib.contextmanager
def trace(*, live: bool | None = None, console: Console | None = None) -> Generator[Trace]:
    """Record the calls that start inside the ``with`` block, and show them.

    Args:
        live: Show the calls while they run; LMs then stream their answers, so that tokens can be
            seen as they arrive. By default in notebooks only, below the cell. Elsewhere True
            draws the tree in the terminal.
        console: Where to draw in a terminal; standard error by default.

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
    shower = _shower if live is not False and console is None else None
    recorder = Recorder(wants_tokens=bool(live) and settings.stream_when_watched)
    recorded = Trace(recorder.records, lambda: recorder.dropped)
    with contextlib.ExitStack() as stack:
        if shower is not None:
            stack.enter_context(shower.forced())
        elif live:
            stack.enter_context(live_tree(recorded, console))
        stack.enter_context(watching(recorder))
        yield recorded


def live_tree(recorded: Trace, console: Console | None = None) -> Live:
    """Return what draws a trace in a terminal while it is entered.

    Args:
        recorded: The trace.
        console: Where to draw; standard error by default.
    """
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


def watch(target: Any) -> None:
    """Show a call, or each call of a program from now on, in the cell that runs.

    It may run already, and another cell may have started it. In a script set ``NBTOOL_TRACE=1``.

    Args:
        target: What ``acall()`` returned, or a module, tool or LM.

    Raises:
        ConfigurationError: No notebook runs.
    """
    _in_notebook("watch").watch(target)


def show(number: int | None = None) -> None:
    """Open a live view again that has turned into its static form.

    Args:
        number: Its number, as the static form says it; the latest by default.

    Raises:
        ConfigurationError: There is no view of that number, or no notebook runs.
    """
    view = _in_notebook("show").show(number)
    if view is None:
        raise ConfigurationError(
            f"There is no view {number!r} (the latest 50 are kept).",
            hint="`nbtool.last_trace()` shows the latest call.",
        )
    view.show_soon()


def _in_notebook(name: str) -> Shower:
    if _shower is None:
        raise ConfigurationError(
            f"nbtool.{name}() needs a notebook.",
            hint="Set NBTOOL_TRACE=1, or write `with nbtool.trace(live=True):`, in a script.",
        )
    return _shower


def _plain(spans: Sequence[SpanRecord]) -> str:
    from nbtool.views import text

    return text.plain(spans)


def _html(spans: Sequence[SpanRecord]) -> str:
    from nbtool.views import html

    return html.static(spans, saved=settings.saved_trace)


def _markdown(spans: Sequence[SpanRecord]) -> str:
    from nbtool.views import markdown

    return markdown.summary(spans)


def _side_by_side(difference: Difference) -> str:
    from nbtool.views.difference import side_by_side

    return side_by_side(difference)


comparison.draw_with(_side_by_side)
tree.draw_with(text=_plain, html=_html, markdown=_markdown)
