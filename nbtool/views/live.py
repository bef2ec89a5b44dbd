"""`LiveView`: what a person sees of the calls of one cell while they run, and what stays.

It is an instrument on the calls that it shows. What they do is noted at once and told to the page
from the loop, at most 30 times a second and in 1 % of its time. It shows itself when a call takes
longer than a moment, or fails. When all have ended it turns into the static form, which is what a
saved notebook keeps.

What belongs to a notebook (displaying, widgets) is behind `Screen` (`nbtool.views.screen`).
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from asyncio import events
from typing import TYPE_CHECKING, Any

from nbtool.views import detail, html, text
from nbtool.views.calls import ShownCalls
from nbtool.views.feed import Feed
from nbtool.views.screen import on_loop
from nbtool.views.wire import encoded

if TYPE_CHECKING:
    from nbtool.runtime.call import Call
    from nbtool.tracing.boundary import Gate
    from nbtool.tracing.record import SpanRecord
    from nbtool.tracing.span import Run, Span
    from nbtool.views.html import Saved
    from nbtool.views.screen import Bundle, Page, Screen

_MOMENT_S = 0.15  # calls that are shorter, and succeed, are not worth a view
_FLUSH_S, _RAREST_FLUSH_S = 1 / 30, 0.1  # servers limit the number of messages
_FLUSH_REST = 100  # times as long as the last one took: of the loop's time a view takes 1 %
_SETTLE_S = 0.5  # after the last call's end, for the next call of a loop
_SNAPSHOT_S = 0.5  # while no page has answered yet
_STATIC_AFTER_S, _STATIC_EVERY_S = 5.0, 3.0  # a copy that stays readable if the page is reloaded
_REST = 200  # times as long as it took to write such a copy
_CLOSE = {"cmd": "close", "label": "Close", "title": "Leave what a saved notebook keeps"}
_NOTICE_OF_PINNED = "Close this view before you save: a notebook keeps the closed form only."
_NOTICE_OF_RELOAD = (
    "The page was loaded anew while this ran, so the notebook gets no more of its output. "
    "To keep the trace, run nbtool.last_trace() in a cell, or nbtool.show({}) and close that."
)
_numbers = itertools.count(1)


class LiveView:
    """Show the calls of one cell; an instrument on them.

    Args:
        screen: Where.
        title: What the page calls it, e.g. ``"In [3]"``.
        saved: How much of the values the static form keeps.
        wants_tokens: LMs shall stream, so that answers can be seen as they arrive.
        is_pinned: A person asked for it: it stays until they close it.

    Attributes:
        number: Its number in this process; `nbtool.show` takes it.
    """

    def __init__(
        self,
        screen: Screen,
        title: str,
        *,
        saved: Saved = "summary",
        wants_tokens: bool = True,
        is_pinned: bool = False,
    ) -> None:
        self.number = next(_numbers)
        self.title = title
        self.saved: Saved = saved
        self.wants_tokens = wants_tokens
        self._screen = screen
        self._feed = Feed()
        self._calls = ShownCalls(self._stir)
        self._lock = threading.Lock()
        self._page: Page | None = None
        self._pages_seen: set[Any] = set()  # that have said hello, by the name each gave itself
        self._expected: Call[Any] | None = None
        self._is_pinned = is_pinned
        self._has_failed = False
        self._has_widgets = False
        self._state: str | None = None  # None, "live" or "static"
        self._has_copy = False
        self._flush_is_due = False
        self._told_ui: dict[str, Any] | None = None
        self._is_tended = False
        self._kept_s = 0.0
        self._flush_every_s = _FLUSH_S
        self._serving = contextlib.ExitStack()
        self._is_serving = False

    # -- being an instrument -------------------------------------------------------------------

    def attach(self, run: Run) -> None:
        """Watch a root call from now on."""
        self._calls.add(run)
        run.attach(self)

    def debugged_by(self, gate: Gate) -> None:
        """Take up a debugger that a call gets; on any thread."""
        self._calls.debuggers.follow(gate)

    def watches(self, run: Run) -> bool:
        """Tell whether a root call is shown here."""
        return run in self._calls

    def opened(self, span: Span) -> None:
        """Note that a step starts."""
        record = span.record
        if record is None:
            return
        self._feed.take(record)
        if span.parent is None:
            self._calls.opened(span)
            if self._state != "live":
                on_loop(self._screen, self._look, _MOMENT_S)
        self._stir()

    def closed(self, span: Span) -> None:
        """Note that a step has ended."""
        record = span.record
        if record is None:
            return
        self._feed.take(record)
        if span.parent is None:
            self._calls.closed(span)
            if record.status == "error" and self._state is None:
                self._has_failed = True
                on_loop(self._screen, self._reveal_failed)
            if not self._calls:
                on_loop(self._screen, self._settle, _SETTLE_S)
        self._stir()

    def take_up(self, records: list[SpanRecord]) -> None:
        """Show steps of a call that were recorded before this view watched it."""
        for record in records:
            self._feed.take(record)
            if record.parent_id is None and record.end_s is None:
                self._calls.runs_already(record.id)

    def again_on(self, screen: Screen) -> LiveView:
        """Return a view of the same calls that stays until it is closed.

        Args:
            screen: Of another cell.
        """
        view = LiveView(screen, self.title, saved=self.saved, is_pinned=True)
        with self._lock:
            view.take_up(self._feed.records)
        for run in self._calls.runs:
            view.attach(run)
        return view

    # -- showing -------------------------------------------------------------------------------

    def _look(self) -> None:
        """Reveal the view if a call has been running for a moment."""
        began_s = self._calls.longest_since_s()
        if began_s is None or self._state == "live":
            return
        wait_s = began_s + _MOMENT_S - time.monotonic()
        if wait_s <= 0:
            self.reveal()
        else:
            on_loop(self._screen, self._look, wait_s)

    def _reveal_failed(self) -> None:
        if self._state is None:
            self.reveal()

    def cell_ended(self) -> None:
        """Turn into the static form now if no call runs; on its loop only.

        nbconvert takes nothing that comes after the last cell.
        """
        if self._has_failed:
            self._reveal_failed()
        self._settle()

    def show_soon(self) -> None:
        """Show the view, if it is not shown, in the next turn of its loop."""
        on_loop(self._screen, self.reveal)

    def show_now(self, call: Call[Any]) -> None:
        """Show the view before the cell goes on, where that can be.

        Args:
            call: Will be seen here; its first step may not have begun yet.
        """
        self._expected = call
        loop = self._screen.loop
        if events._get_running_loop() is loop:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - as in `on_loop`
            self._screen.context.run(self.reveal)
        else:
            self.show_soon()

    def reveal(self) -> None:
        """Show the view, if it is not shown; on its loop only."""
        if self._state == "live":
            return
        self._page = self._screen.page(self)
        self._has_widgets = self._page is not None
        self._told_ui = None
        show = self._screen.show if self._state is None else self._screen.update
        self._state = "live"
        self._flush()
        show(self._bundle(), self._display_id)
        if not self._is_tended:
            self._is_tended = True
            on_loop(self._screen, self._tend, _STATIC_AFTER_S)
        if not self._calls:
            on_loop(self._screen, self._settle, _SETTLE_S)

    @property
    def _display_id(self) -> str:
        return f"nbtool-{id(self._screen):x}-{self.number}"

    def _bundle(self) -> Bundle:
        spans = self._feed.records
        can_be_opened = self._state == "static" and self._has_widgets
        note = f"nbtool.show({self.number}) opens the live view." if can_be_opened else ""
        static = html.static(spans, saved=self.saved, note=note)
        live = self._page.view if self._page is not None else {}
        return {"text/plain": text.stable(spans), "text/html": static, **live}

    def _stir(self) -> None:
        if self._state == "live" and not self._flush_is_due:
            self._flush_is_due = True
            on_loop(self._screen, self._flush, self._flush_every_s)

    def _flush(self) -> None:
        """Tell the page what has changed."""
        self._flush_is_due = False
        began_s = time.thread_time()
        self._serve()
        ui = self.ui()
        with self._lock:
            self._feed.mark(self._calls.debuggers.marks())
            told = self._feed.delta(ui if ui != self._told_ui else None)
        self._told_ui = ui
        if self._page is None:
            self._refresh()
        elif told is not None:
            self._page.tell(*told)
            self._keep_snapshot()
        rest_s = _FLUSH_REST * (time.thread_time() - began_s)
        self._flush_every_s = min(max(_FLUSH_S, rest_s), _RAREST_FLUSH_S)
        if self._feed.waits_for_text or self._feed.has_more or (self._page is None and self._calls):
            self._stir()

    def _serve(self) -> None:
        """Have clicks heard while the calls run, also those that no handle is waited for."""
        if self._calls and self._page is not None:
            if not self._is_serving:
                self._is_serving = True
                self._serving.enter_context(self._screen.serving())
        else:
            self._is_serving = False
            self._serving.close()

    def _keep_snapshot(self) -> None:
        """Let the page have everything, also where it cannot ask: a kernel that is busy."""
        now_s = time.monotonic()
        if self._page is not None and not self._page.greeted and now_s >= self._kept_s:
            self._kept_s = now_s + _SNAPSHOT_S
            self._page.keep(self.snapshot())

    def _refresh(self) -> None:
        """Draw anew where there are no widgets."""
        now_s = time.monotonic()
        if now_s >= self._kept_s:
            self._kept_s = now_s + _SNAPSHOT_S
            self._screen.update(self._bundle(), self._display_id)

    def _tend(self) -> None:
        """Keep a second output readable: after a reload nothing else reaches the notebook.

        By the clock: a chain that waits for one answer has nothing to tell meanwhile.
        """
        self._is_tended = self._page is not None and bool(self._calls)
        if not self._is_tended:
            return
        began_s = time.monotonic()
        put = self._screen.update if self._has_copy else self._screen.show
        self._has_copy = True
        put(self._copy(), f"{self._display_id}-copy")
        took_s = time.monotonic() - began_s
        on_loop(self._screen, self._tend, max(_STATIC_EVERY_S, _REST * took_s))

    def _copy(self) -> Bundle:
        spans = self._feed.records
        return {"text/plain": "", "text/html": html.copy(spans, saved=self.saved)}

    def _settle(self) -> None:
        """Turn into the static form when all calls have ended."""
        if self._calls or self._state != "live" or self._is_pinned:
            return
        call = self._expected
        if call is not None and call.span is None and not call.done():
            on_loop(self._screen, self._settle, _SETTLE_S)
            return
        self._flush()
        if self._page is not None and len(self._pages_seen) > 1:
            self._page.keep(self.snapshot())  # no output reaches that page: the widget stays
            return
        page, self._page = self._page, None
        self._pages_seen.clear()
        self._state = "static"
        self._screen.update(self._bundle(), self._display_id)
        if self._has_copy:
            self._has_copy = False
            self._screen.update({"text/plain": "", "text/html": ""}, f"{self._display_id}-copy")
        if page is not None:
            page.close()

    # -- being asked ---------------------------------------------------------------------------

    def ui(self) -> dict[str, Any]:
        """Return what the page shows around the rows."""
        shown = self._calls.ui()
        notices: list[str] = []
        if self._is_pinned:
            notices.append(_NOTICE_OF_PINNED)
            if not self._calls:
                shown["buttons"] = [_CLOSE]
        elif len(self._pages_seen) > 1:
            notices.append(_NOTICE_OF_RELOAD.format(self.number))
        return {"title": self.title, "notice": " ".join(notices) or None, **shown}

    def snapshot(self) -> bytes:
        """Return all that a page has to know."""
        ui = self.ui()
        with self._lock:  # a kernel may ask for a widget's state in another thread
            return self._feed.snapshot(ui)

    def heard(self, message: dict[str, Any]) -> None:
        """Answer a message of the page; what is not known is left alone."""
        kind = message.get("t")
        if kind == "hello" and self._page is not None:
            self._note_page(message.get("page"))
            self._page.tell({"t": "s"}, self.snapshot())
        elif kind == "detail":
            self._tell_detail(message.get("id"))
        elif kind == "want":
            self._feed.want_all()
            self._stir()
        elif kind == "cmd" and message.get("cmd") == "close":
            self._is_pinned = False
            self._settle()
        elif kind == "cmd" and (said := self._calls.obey(message)):
            self._answer(message.get("id"), "told", said)
        elif kind == "edit":
            step = message.get("id")
            self._answer(step, "editable", self._calls.debuggers.editable(step))

    def _answer(self, step: Any, kind: str, said: dict[str, Any]) -> None:
        """Tell the page what came of what it asked, and whatever has changed by that."""
        self._stir()
        if self._page is not None:
            number = step if isinstance(step, int) else 0
            self._page.tell({"t": kind, "id": number}, encoded(said))

    def _note_page(self, name: Any) -> None:
        """Notice that the page was reloaded: it is another one then."""
        if isinstance(name, str) and len(self._pages_seen) <= 1:
            self._pages_seen.add(name)

    def _tell_detail(self, number: Any) -> None:
        record = self._feed.record(number) if isinstance(number, int) else None
        if record is None or self._page is None:
            return
        found = {
            "sections": [*detail.sections(record), *self._calls.debuggers.sections(record)],
            "json": detail.cut(detail.as_json(record.to_json())),
            "python": detail.python_call(record),
        }
        self._page.tell({"t": "detail", "id": record.id, "part": 0}, encoded(found))

    def stop(self) -> None:
        """Cancel the calls that are shown; on the loop only."""
        self._calls.stop()
