# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportUntypedBaseClass=false, reportMissingTypeStubs=false, reportIncompatibleMethodOverride=false
# anywidget and ipywidgets have no complete types; nothing unknown leaves this file.
"""The widget of a live view: it carries messages and knows nothing of what they say."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

if TYPE_CHECKING:
    from collections.abc import Callable

_STATIC = Path(__file__).parent / "static"
_VIEW = "application/vnd.jupyter.widget-view+json"


class TraceWidget(anywidget.AnyWidget):
    """Be the page's side of a `LiveView`.

    Args:
        snapshot: Gives all that a page has to know, whenever one asks for the widget's state.
        heard: Told each message of a page, in whatever thread the kernel serves it.
    """

    _esm = (_STATIC / "trace.js").read_text("utf-8")
    _css = (_STATIC / "trace.css").read_text("utf-8")
    snapshot = traitlets.Bytes(b"").tag(sync=True)
    version = traitlets.Int(1).tag(sync=True)

    def __init__(
        self, snapshot: Callable[[], bytes], heard: Callable[[dict[str, Any]], None]
    ) -> None:
        self._snapshot_now = snapshot
        self._heard = heard
        self._has_greeted = False
        super().__init__()
        self.on_msg(self._on_message)

    @property
    def view(self) -> dict[str, Any]:
        """What shows the widget in an output."""
        return {_VIEW: {"version_major": 2, "version_minor": 0, "model_id": self.model_id}}

    @property
    def greeted(self) -> bool:
        """Whether a page has answered."""
        return self._has_greeted

    def tell(self, message: dict[str, Any], buffer: bytes | None = None) -> None:
        """Send a message to the page."""
        self.send(message, buffers=[buffer] if buffer is not None else None)

    def keep(self, snapshot: bytes) -> None:
        """Set what a page gets that cannot ask yet."""
        self.snapshot = snapshot

    def get_state(self, key: Any = None, drop_defaults: bool = False) -> dict[str, Any]:
        """Return the state; a page that was reloaded gets all of it, as of now."""
        state: dict[str, Any] = super().get_state(key=key, drop_defaults=drop_defaults)
        if "snapshot" in state and key is None:
            state["snapshot"] = self._snapshot_now()
        return state

    def _on_message(self, _widget: Any, message: Any, _buffers: Any) -> None:
        if isinstance(message, dict):
            self._has_greeted = True
            self._heard(message)
