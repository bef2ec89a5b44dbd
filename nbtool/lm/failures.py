"""What litellm raises, as errors of our tree; no import of litellm is needed to read it."""

from __future__ import annotations

import contextlib
import re
import time
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from nbtool import errors
from nbtool.lm.keys import hint_for_missing_key
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from collections.abc import Mapping

_BY_STATUS: dict[int, type[errors.LMError]] = {
    400: errors.LMInvalidRequestError,
    401: errors.LMAuthError,
    402: errors.LMBillingError,
    403: errors.LMAuthError,
    404: errors.LMInvalidRequestError,
    408: errors.LMTimeoutError,
    413: errors.LMInvalidRequestError,
    422: errors.LMInvalidRequestError,
    429: errors.LMRateLimitError,
}
_HINTS: dict[type[errors.LMError], str] = {
    errors.LMAuthError: "Set the provider's key in the environment, e.g. OPENAI_API_KEY, "
    "or pass LM(..., api_key=...).",
    errors.LMBillingError: "The account has no budget left: check it with the provider.",
    errors.LMRateLimitError: "Send fewer requests at once with LM(..., max_concurrency=...) or "
    "LM(..., requests_per_minute=...), or raise num_retries.",
    errors.LMTimeoutError: "Give it more time with LM(..., timeout=seconds).",
    errors.LMServerError: "The provider failed; the same request may work later.",
    errors.LMTransportError: "Check the address (api_base) and the network.",
    errors.LMInvalidRequestError: "The provider does not take this request: check the model's "
    "name and the options.",
    errors.ContextWindowExceededError: "Shorten the inputs or demos, or use a larger model.",
}
_SERVER_ERRORS = 500
_SUCCESS = range(200, 300)
_SHOWN_CHARS = 1_000
_TOO_LONG = "context_length_exceeded"  # OpenAI's code; litellm looks at the words alone
_NO_BUDGET = "insufficient_quota"  # OpenAI sends it with HTTP 429, and waiting does not help
_UNKNOWN_OPTION = "unexpected keyword argument"  # of the provider's own client
_WANTS_KEY = re.compile(r"credential|api[ _]?key", re.IGNORECASE)  # said of a key that is missing
_CONNECTION_ERRORS = ("TransportError", "ClientError")  # roots of httpx's and of aiohttp's


def translated(
    error: Exception,
    litellm: Any,
    request: Mapping[str, Any],
    handled: BaseException | None = None,
) -> errors.LMError:
    """Turn what litellm raised into an error of our tree.

    Args:
        error: What was raised.
        litellm: The module.
        request: Options of the request.
        handled: What the caller was handling already; it is no cause of `error`.
    """
    causes = _causes(error, handled)
    headers = _headers_of(causes)
    secrets = (*secrets_in_use(), *_keys_of(request))
    text = scrub_text(str(error), secrets=secrets)
    for cause in causes:
        _scrub(cause, secrets)
    wants_key = not headers and _WANTS_KEY.search(text) is not None
    missing = _missing_keys(litellm, request) if wants_key else ()
    kind = _kind_of(causes, litellm, answered=bool(headers), has_key=not missing)
    model = request.get("model")
    hint = _HINTS.get(kind, "")
    if kind is errors.LMAuthError and missing:
        hint = hint_for_missing_key(str(model), missing)
    if "LLM Provider NOT provided" in text:
        text = f"litellm knows no provider for the model {model!r}."
        hint = 'Write the provider before the name: LM("openai/gpt-4o-mini"), LM("ollama/llama3").'
    if any(isinstance(cause, UnicodeEncodeError) for cause in causes):
        text = "the request has half a character (a lone surrogate), which UTF-8 cannot carry."
        hint = 'Clean the text: text.encode("utf-8", "replace").decode().'
    return kind(
        f"{model!r} gave no answer: {_shortened(text)}",
        model=model,
        provider=getattr(error, "llm_provider", None) or None,
        # Where nobody answered, litellm makes a status up.
        status=_status_of(error) if headers else None,
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        retry_after=_asked_wait_s(headers),
        hint=hint,
    )


def _shortened(text: str) -> str:
    """Return the beginning of a text: a provider may have sent a whole page, or megabytes."""
    if len(text) <= _SHOWN_CHARS:
        return text
    return f"{text[:_SHOWN_CHARS]}… ({len(text):,} characters in all)"


def too_slow(request: Mapping[str, Any]) -> errors.LMTimeoutError:
    """Say that the time limit of a request has passed."""
    model = request.get("model")
    return errors.LMTimeoutError(
        f"{model!r} gave no whole answer within timeout={request.get('timeout')!r} seconds.",
        model=model,
        hint=_HINTS[errors.LMTimeoutError],
    )


def _scrub(error: BaseException, secrets: tuple[str, ...]) -> None:
    """Take secrets out of a foreign error, which a traceback shows as the cause of ours."""
    error.args = tuple(
        scrub_text(arg, secrets=secrets) if isinstance(arg, str) else arg for arg in error.args
    )
    message = getattr(error, "message", None)  # what litellm's and openai's errors print
    if isinstance(message, str):
        with contextlib.suppress(AttributeError):  # a read-only one is printed from args
            error.message = scrub_text(message, secrets=secrets)  # type: ignore[attr-defined] # just read


def _causes(error: BaseException, handled: BaseException | None) -> list[BaseException]:
    """Return an error and what led to it, outermost first."""
    causes: list[BaseException] = []
    cause: BaseException | None = error
    while cause is not None and cause is not handled and cause not in causes:
        causes.append(cause)
        cause = cause.__cause__ or cause.__context__
    return causes


def _headers_of(causes: list[BaseException]) -> Mapping[str, str]:
    """Return the headers of the provider's answer; none where it did not answer."""
    for cause in causes:
        # litellm's own errors carry a made-up response, which has no headers.
        for headers in (
            getattr(cause, "litellm_response_headers", None),
            getattr(getattr(cause, "response", None), "headers", None),
        ):
            if headers:
                return headers
    return {}


def _missing_keys(litellm: Any, request: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the variables that hold the provider's key, where no key was given at all."""
    if request.get("api_key"):
        return ()
    with contextlib.suppress(Exception):  # the table does not know every provider
        missing = litellm.validate_environment(model=request.get("model"))["missing_keys"]
        return tuple(sorted(str(name) for name in missing if "KEY" in name))
    return ()


def _keys_of(request: Mapping[str, Any]) -> tuple[str, ...]:
    key = request.get("api_key")
    return (key,) if isinstance(key, str) and key else ()


def _status_of(error: BaseException) -> int | None:
    status = getattr(error, "status_code", None)
    return status if isinstance(status, int) else None


def _kind_of(
    causes: list[BaseException], litellm: Any, *, answered: bool, has_key: bool
) -> type[errors.LMError]:
    error = causes[0]
    # The first rule that holds decides. litellm gives failures before any answer the status 500,
    # as if a server had failed, so what lies below is asked first.
    rules: tuple[tuple[bool, type[errors.LMError]], ...] = (
        (
            isinstance(error, litellm.ContextWindowExceededError) or _has_code(causes, _TOO_LONG),
            errors.ContextWindowExceededError,
        ),
        (_has(causes, UnicodeEncodeError), errors.LMInvalidRequestError),
        (not answered and _UNKNOWN_OPTION in str(error), errors.LMInvalidRequestError),
        (_has(causes, litellm.Timeout, TimeoutError), errors.LMTimeoutError),
        (not answered and any(map(_is_connection_error, causes)), errors.LMTransportError),
        (not has_key, errors.LMAuthError),
        # The provider needs a package that is not there; asking again is no use.
        (_has(causes, ImportError), errors.LMProviderError),
        (isinstance(error, litellm.APIConnectionError), errors.LMTransportError),
        (_has_code(causes, _NO_BUDGET), errors.LMBillingError),
    )
    by_status = _kind_by_status(_status_of(error))
    return next((kind for holds, kind in rules if holds), by_status)


def _has(causes: list[BaseException], *kinds: type[BaseException]) -> bool:
    return any(isinstance(cause, kinds) for cause in causes)


def _has_code(causes: list[BaseException], code: str) -> bool:
    return any(getattr(cause, "code", None) == code for cause in causes)


def _kind_by_status(status: int | None) -> type[errors.LMError]:
    if status is None:
        return errors.LMProviderError
    if status >= _SERVER_ERRORS or status in _SUCCESS:  # an answer, and none that can be read
        return errors.LMServerError
    return _BY_STATUS.get(status, errors.LMProviderError)


def _is_connection_error(cause: BaseException) -> bool:
    return any(base.__name__ in _CONNECTION_ERRORS for base in type(cause).__mro__)


def _asked_wait_s(headers: Mapping[str, str]) -> float | None:
    """Return how long the provider asks to wait, in seconds; None where it does not say.

    Source:
        RFC 9110, Retry-After: seconds or an HTTP date. ``retry-after-ms`` is OpenAI's and Azure's.
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    asked = headers.get("retry-after")
    seconds = _number(asked)
    if seconds is not None or asked is None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(asked).timestamp() - time.time())
    except (ValueError, OverflowError):  # the back-off does without it
        return None


def _number(header: str | None) -> float | None:
    try:
        number = float(header) if header is not None else None
    except ValueError:
        return None
    # A damaged header must not make us wait for ever: nan and inf are none.
    return max(0.0, number) if number is not None and abs(number) < float("inf") else None
