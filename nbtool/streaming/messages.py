"""Status messages: what a program is doing, said by its steps."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from nbtool.runtime.pieces import is_below

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.tracing.span import Span

_log = logging.getLogger("nbtool")
_FINISH, _FINISHED = "finish", "Completed."  # of `ReAct`: the end of its work is no tool call


@dataclasses.dataclass(slots=True)
class StatusMessage:
    """Be a message about what a program is doing.

    Attributes:
        message: The text.
    """

    message: str

    def __str__(self) -> str:
        """Return the text alone."""
        return self.message


class StatusMessageProvider:
    """Say what a program is doing; subclasses say it in their own words.

    Each method may return None for no message. One that raises is logged, and the program goes
    on.

    Example:
        >>> class Steps(StatusMessageProvider):
        ...     def lm_start_status_message(self, instance, inputs):
        ...         return f"Asking {instance.model}"

    Source:
        Methods, and the messages about tools, as DSPy's class of that name.
    """

    def tool_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str | None:  # noqa: ARG002 - for subclasses
        """Say that a tool starts.

        Args:
            instance: The `Tool`.
            inputs: Its arguments by name.
        """
        return f"Calling tool {instance.name}..."

    def tool_end_status_message(self, outputs: Any) -> str | None:  # noqa: ARG002 - for subclasses
        """Say that a tool has ended.

        Args:
            outputs: What it returned; None where it raised.
        """
        return "Tool calling finished! Querying the LLM with tool calling results..."

    def module_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str | None:
        """Say that a module or predictor starts."""

    def module_end_status_message(self, outputs: Any) -> str | None:
        """Say that a module or predictor has ended."""

    def lm_start_status_message(self, instance: Any, inputs: dict[str, Any]) -> str | None:
        """Say that a language model is asked."""

    def lm_end_status_message(self, outputs: Any) -> str | None:
        """Say that a language model has answered."""


class Statuses:
    """Put a message about each step below another one wherever it belongs.

    Args:
        provider: Says the messages.
        put: Takes them, from whatever thread.
        root: Returns the step below which is listened; None until it has opened.
    """

    def __init__(
        self,
        provider: StatusMessageProvider,
        put: Callable[[StatusMessage], object],
        root: Callable[[], Span | None],
    ) -> None:
        self._provider = provider
        self._put = put
        self._root = root

    def opened(self, span: Span) -> None:
        """Say that a step starts."""
        if not is_below(span, self._root()):
            return
        if span.kind in ("module", "predict"):
            self._say(self._provider.module_start_status_message, span.subject, span.inputs)
        elif span.kind == "lm":
            self._say(self._provider.lm_start_status_message, span.subject, span.inputs)
        elif span.kind == "tool" and getattr(span.subject, "name", None) != _FINISH:
            self._say(self._provider.tool_start_status_message, span.subject, span.inputs)

    def closed(self, span: Span) -> None:
        """Say that a step has ended."""
        if not is_below(span, self._root()):
            return
        if span.kind in ("module", "predict"):
            self._say(self._provider.module_end_status_message, span.output)
        elif span.kind == "lm":
            self._say(self._provider.lm_end_status_message, span.output)
        elif span.kind == "tool" and span.output != _FINISHED:
            self._say(self._provider.tool_end_status_message, span.output)

    def _say(self, message: Callable[..., str | None], *given: Any) -> None:
        try:
            text = message(*given)
        except Exception:  # noqa: BLE001 - a user's own code, and only a message
            _log.exception("A status message could not be made.")
            return
        if text:
            self._put(StatusMessage(text))
