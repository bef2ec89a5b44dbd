"""`Screen` and `Page`: what a live view needs of a notebook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    import asyncio
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
