# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# IPython's shell and ipykernel's publisher have no types.
"""Views in a kernel: each root call is shown in the cell that it belongs to."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import OrderedDict
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from nbtool.configuration import settings
from nbtool.runtime import cells, inflight, outputs
from nbtool.runtime.call import Call
from nbtool.tracing import boundary
from nbtool.tracing.process import process_recorder
from nbtool.tracing.tree import subtree
from nbtool.views import html, watching
from nbtool.views.live import LiveView

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Generator

    from nbtool.tracing.span import Span
    from nbtool.views.screen import Bundle, Page

_MOST_VIEWS = 50
_is_forced: ContextVar[bool] = ContextVar("nbtool_trace_is_shown", default=False)


class CellScreen:
    """Show outputs in the cell that runs where this is made.

    It is called in its own context.

    Args:
        shell: IPython's shell.
        loop: The kernel's loop.
    """

    def __init__(self, shell: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._shell = shell
        self.loop = loop
        self.context = boundary.context_outside()
        cells.keep_output(self.context)

    def page(self, view: LiveView) -> Page | None:
        """Make a widget for a view; None where there are none."""
        if os.environ.get("NBTOOL_WIDGETS") == "0":
            return None
        try:
            from nbtool.views.widget import TraceWidget
        except ImportError:  # anywidget is missing, or too old for this ipywidgets
            return None

        def heard(message: dict[str, Any]) -> None:
            # A click arrives in whatever thread the kernel serves it in.
            self.loop.call_soon_threadsafe(view.heard, message, context=self.context)

        return TraceWidget(view.snapshot, heard)

    def show(self, bundle: Bundle, display_id: str) -> None:
        """Display an output."""
        self._publish(bundle, {}, transient={"display_id": display_id}, update=False)

    def update(self, bundle: Bundle, display_id: str) -> None:
        """Replace an output."""
        self._publish(bundle, {}, transient={"display_id": display_id}, update=True)

    def serving(self) -> contextlib.AbstractContextManager[None]:
        """Have pages heard at once, also while a cell runs, as long as it is entered."""
        return cells.waiting()

    @property
    def _publish(self) -> Callable[..., None]:
        return self._shell.display_pub.publish


class Showing:
    """Give each root call a view of its cell; an instrument on all calls.

    Args:
        shell: IPython's shell.
        loop: The kernel's loop.
    """

    def __init__(self, shell: Any, loop: asyncio.AbstractEventLoop) -> None:
        self._shell, self._loop = shell, loop
        self._views: OrderedDict[str, LiveView] = OrderedDict()
        self._watched: dict[int, tuple[object, LiveView]] = {}
        self._lock = threading.Lock()

    def opened(self, span: Span) -> None:
        """Attach a view to a root call."""
        if span.parent is not None:
            return
        watched = self._watched.get(id(span.subject))
        if watched is not None:
            self._attach(watched[1], span)
            watched[1].show_soon()
        if settings.show_trace == "never" and not _is_forced.get():
            return
        view = self.view_here()
        self._attach(view, span)
        if settings.show_trace == "always" or _is_forced.get():
            view.show_soon()

    def closed(self, span: Span) -> None:
        """Do nothing: the view itself watches."""

    def _attach(self, view: LiveView, span: Span) -> None:
        view.attach(span.run)
        view.opened(span)  # whoever tells of this span has not heard of the view yet

    def view_here(self) -> LiveView:
        """Return the view of the cell that the calling code belongs to."""
        key = self._key()
        with self._lock:
            view = self._views.get(key)
            if view is None:
                view = self._new_view()
                self._keep(key, view)
        return view

    def _key(self) -> str:
        return str(outputs.home_header(self._shell).get("msg_id"))

    def _keep(self, key: str, view: LiveView) -> None:
        self._views[key] = view
        if len(self._views) > _MOST_VIEWS:
            self._views.popitem(last=False)

    def _new_view(self) -> LiveView:
        return LiveView(
            CellScreen(self._shell, self._loop),
            # `execution_count` is already the next one's on IPython 9, and is not on 7.
            f"In [{len(self._shell.history_manager.input_hist_parsed) - 1}]",
            saved=settings.saved_trace,
            wants_tokens=settings.stream_when_watched,
        )

    # -- being asked ---------------------------------------------------------------------------

    def watch(self, target: Any) -> None:
        """Show a call, or the calls of a program, in the cell that runs."""
        if isinstance(target, Call):
            self._watch_call(target)
            return
        view = self._new_view()
        self._watched[id(target)] = target, view
        for call in inflight.running():
            span = call.span
            if span is not None and span.subject is target:
                self._take_up(view, call)
                view.show_soon()

    def _watch_call(self, call: Call[Any]) -> None:
        if not call.has_started:
            self._display({"text/plain": repr(call)})
        elif call.done():
            self._display({"text/plain": repr(call), "text/html": html.static(call.trace.spans)})
        else:
            view = self.view_here()
            self._take_up(view, call)
            view.show_now(call)

    def _take_up(self, view: LiveView, call: Call[Any]) -> None:
        span = call.span
        if span is None or view.watches(span.run):
            return
        view.take_up(subtree(process_recorder.records(), span.id))
        view.attach(span.run)

    def _display(self, bundle: Bundle) -> None:
        self._shell.display_pub.publish(bundle, {})

    def show(self, number: int | None) -> LiveView | None:
        """Return a view for the cell that runs, of the calls of another one.

        Args:
            number: That of the other view; the latest by default. None is returned where there
                is no such view.
        """
        views = [*self._views.values(), *(view for _, view in self._watched.values())]
        chosen = [view for view in views if number in {None, view.number}]
        if not chosen:
            return None
        view = chosen[-1].again_on(CellScreen(self._shell, self._loop))
        self._keep(f"shown {view.number}", view)
        return view

    def cell_ended(self, *_: Any) -> None:
        """Let the view of the cell that has just run take its last form."""
        view = self._views.get(self._key())
        if view is not None:
            view.cell_ended()

    @contextlib.contextmanager
    def forced(self) -> Generator[None]:
        """Show the calls that start inside, whatever the setting says."""
        token = _is_forced.set(True)
        try:
            yield
        finally:
            with contextlib.suppress(ValueError):  # ended in another Context
                _is_forced.reset(token)


_showing: Showing | None = None


def install(shell: Any, loop: asyncio.AbstractEventLoop) -> None:
    """Show calls in this kernel's cells."""
    global _showing  # noqa: PLW0603 - one kernel a process
    _showing = Showing(shell, loop)
    boundary.install(_showing)
    watching.show_with(_showing)
    shell.events.register("post_run_cell", _showing.cell_ended)
    shell.display_formatter.ipython_display_formatter.for_type(Call, _showing.watch)
    threading.Thread(target=_load_widgets, name="nbtool-load-widgets", daemon=True).start()


def uninstall(shell: Any) -> None:
    """Undo `install`; views that are shown stay."""
    global _showing  # noqa: PLW0603 - as above
    if _showing is None:
        return
    boundary.uninstall(_showing)
    watching.show_with(None)
    shell.events.unregister("post_run_cell", _showing.cell_ended)
    formatter = shell.display_formatter.ipython_display_formatter
    if formatter.lookup_by_type(Call) == _showing.watch:
        formatter.pop(Call)
    _showing = None


def _load_widgets() -> None:
    """Import what the first view needs, which takes longer than a person should wait for it."""
    with contextlib.suppress(Exception):  # `CellScreen.page` finds out the same
        import nbtool.views.widget  # noqa: F401 # pyright: ignore[reportUnusedImport]
