"""The seam below `LM`: whoever carries a request to a model is a `Transport`."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

ModelType = Literal["chat", "text", "responses"]
"""Which of OpenAI's endpoints a model speaks: Chat Completions, Completions, Responses."""


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """Hold what is asked of a transport.

    Attributes:
        model_type: The endpoint whose shape `options` and the response have.
        options: ``model``, then ``messages`` ("chat"), ``prompt`` ("text") or ``input``
            ("responses"), and further options by OpenAI's or litellm's names. ``api_key`` is
            text, where there is one; ``timeout`` limits the whole request, in seconds.
    """

    model_type: ModelType
    options: dict[str, Any]

    @property
    def model(self) -> str:
        """Name of the model, as litellm writes it."""
        return str(self.options.get("model"))


class Transport(Protocol):
    """Carry requests; nothing is retried, counted or cached here.

    A transport serves all event loops and threads. Both methods end the request, and close its
    connection, when the awaiting task is cancelled, and raise errors of `nbtool.errors.LMError`.
    """

    async def complete(self, request: Request) -> Any:
        """Send one request and wait for the whole answer.

        Args:
            request: What is asked.

        Returns:
            The response, an object or a dict, shaped like OpenAI's.

        Raises:
            LMError: No usable answer came.
        """
        ...

    async def stream(self, request: Request, on_text: Callable[[str], None]) -> Any:
        """Do as `complete`, and tell the text of the answer while it arrives.

        Args:
            request: What is asked.
            on_text: Told each piece of the first choice's text, in order.

        Returns:
            What `complete` would have returned.

        Raises:
            LMError: No usable answer came; some text may have been told.
        """
        ...
