"""`Screen` and `Page`: what a live view needs of a notebook."""

from __future__ import annotations

from asyncio import events
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
    import contextlib
    from collections.abc import Callable
    from contextvars import Context

    from nbtool.views.live import LiveView

Bundle: TypeAlias = "dict[str, Any]"
"""One output in several forms, by MIME type."""


class Page(Protocol):
    """Be the front end's side of a view: a widget."""

    @property
    def view(self) -> Bundle:
        """What shows the widget, by MIME type."""
        ...

    @property
    def greeted(self) -> bool:
        """Whether a page has answered."""
        ...

    def tell(self, message: dict[str, Any], buffer: bytes | None = None) -> None:
        """Send a message."""
        ...

    def keep(self, snapshot: bytes) -> None:
        """Set what a page gets that asks later."""
        ...

    def close(self) -> None:
        """Let the page forget it."""
        ...


class Screen(Protocol):
    """Show outputs in one cell; its methods are called on `loop` and in `context`."""

    loop: asyncio.AbstractEventLoop
    context: Context

    def page(self, view: LiveView) -> Page | None:
        """Make a widget for a view; None where there are none."""
        ...

    def show(self, bundle: Bundle, display_id: str) -> None:
        """Display an output."""
        ...

    def update(self, bundle: Bundle, display_id: str) -> None:
        """Replace an output."""
        ...

    def serving(self) -> contextlib.AbstractContextManager[None]:
        """Have pages heard at once, also while a cell runs, as long as it is entered."""
        ...


def on_loop(screen: Screen, do: Callable[[], None], delay_s: float = 0.0) -> None:
    """Do something on a screen's loop, in its context; from any thread.

    Args:
        screen: The screen; nothing is done where its loop is closed.
        do: What to do.
        delay_s: How long from now.
    """
    loop, context = screen.loop, screen.context
    if events._get_running_loop() is loop:  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
        loop.call_later(delay_s, do, context=context)
    elif not loop.is_closed():
        loop.call_soon_threadsafe(loop.call_later, delay_s, lambda: context.run(do))
