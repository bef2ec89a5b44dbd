"""Asking for an answer piece by piece, where the provider can."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.errors import LMAuthError, LMError, LMInvalidRequestError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.lm.transport import Request, Transport

_refusing: set[tuple[str, str]] = set()  # models and addresses that give whole answers only
_MOST_REMEMBERED = 1_000
_REFUSALS = (LMInvalidRequestError, LMAuthError)  # OpenAI: "must be verified to stream this model"


async def streamed(
    transport: Transport, asked: Request, address: str, on_text: Callable[[str], None]
) -> Any:
    """Stream an answer; a provider that refuses to is asked without, from then on.

    Args:
        transport: Who carries the request.
        asked: The request.
        address: Where it goes.
        on_text: Told each piece of text.

    Returns:
        What ``transport.complete`` returns.

    Raises:
        LMError: No usable answer came, streamed or not.
    """
    whom = asked.model, address
    if whom in _refusing:
        return await transport.complete(asked)
    has_begun = False

    def heard(text: str) -> None:
        nonlocal has_begun
        has_begun = True
        on_text(text)

    try:
        return await transport.stream(asked, heard)
    except LMError as error:
        if has_begun or not _is_refusal(error):
            raise
    response = await transport.complete(asked)
    if len(_refusing) < _MOST_REMEMBERED:
        _refusing.add(whom)
    return response


def _is_refusal(error: Exception) -> bool:
    if isinstance(
        error.__cause__, NoEventsError
    ):  # a whole answer came where events were asked for
        return True
    return isinstance(error, _REFUSALS) and "stream" in str(error).lower()


class NoEventsError(EOFError):
    """A stream ended before its first event."""
