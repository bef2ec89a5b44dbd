"""The one retry layer: what is tried again, how often and how long after."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from nbtool.errors import (
    LMError,
    LMRateLimitError,
    LMServerError,
    LMTimeoutError,
    LMTransportError,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tenacity import RetryCallState

T = TypeVar("T")

_RETRYABLE = (LMTransportError, LMRateLimitError, LMServerError, LMTimeoutError)
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_LONGEST_ASKED_WAIT_S = 120.0


def is_retryable_lm_error(error: BaseException) -> bool:
    """Tell whether the same request may succeed a moment later."""
    return isinstance(error, _RETRYABLE)


async def with_retries(
    attempt: Callable[[], Awaitable[T]],
    num_retries: int,
    before_retry: Callable[[int], None],
) -> T:
    """Make an attempt, and again after failures that may pass.

    The wait grows from 0.5 s by a factor of two up to 30 s, with jitter; where the provider says
    how long to wait, that is waited. A cancellation ends it at once.

    Args:
        attempt: Makes one request.
        num_retries: How many further attempts are allowed (>= 0).
        before_retry: Told the number of the failed attempt, from 1, before each wait.

    Returns:
        What the first successful attempt returned.

    Raises:
        LMError: The last attempt's error.
    """
    import tenacity

    task = asyncio.current_task()
    cancels = task.cancelling() if task is not None else 0

    def may_pass(error: BaseException) -> bool:
        # A transport may turn a cancellation into an error of its own; nothing is sent after one.
        was_cancelled = task is not None and task.cancelling() > cancels
        return is_retryable_lm_error(error) and not was_cancelled

    backoff = tenacity.wait_random_exponential(multiplier=_FIRST_WAIT_S, max=_LONGEST_WAIT_S)

    def wait(state: RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome is not None else None
        asked = error.retry_after if isinstance(error, LMError) else None
        return min(asked, _LONGEST_ASKED_WAIT_S) if asked is not None else backoff(state)

    retrying = tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(may_pass),
        stop=tenacity.stop_after_attempt(num_retries + 1),
        wait=wait,
        before_sleep=lambda state: before_retry(state.attempt_number),
        reraise=True,
    )
    return await retrying(attempt)
