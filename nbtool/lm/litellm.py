# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
# litellm has no complete types; nothing unknown leaves this file.
"""The transport: requests over litellm, and its errors in our words.

The only file that imports litellm. The import takes seconds, holds the GIL in pieces and would
ask the network for a price table, so it happens in a thread of its own, once, with the packaged
table; a first throw-away request to a closed loopback port then pulls in what litellm itself
imports lazily, which would otherwise stall the loop for 0.4 s.
"""

from __future__ import annotations

import asyncio
import atexit
import concurrent.futures
import contextlib
import logging
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

from nbtool import errors
from nbtool.tracing.record import secrets_in_use
from nbtool.tracing.scrub import scrub_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Request = dict[str, Any]

_LONGEST_EXIT_S = 5.0  # modules are short; this is for a machine that is very busy

_lock = threading.Lock()
_loading: concurrent.futures.Future[Any] | None = None


# -- loading -------------------------------------------------------------------------------------


def begin_loading() -> concurrent.futures.Future[Any]:
    """Start importing litellm in a daemon thread, unless that was done.

    Returns:
        A future of the module; the same one every time.
    """
    global _loading  # noqa: PLW0603 - the import is one per process, as the module is
    with _lock:
        if _loading is None:
            _loading = concurrent.futures.Future()
            # A running future cannot be cancelled by one of those that wait for it.
            _loading.set_running_or_notify_cancel()
            # A daemon, so that a script that ends early does not wait for the import.
            thread = threading.Thread(
                target=_load, args=(_loading,), name="nbtool-load-litellm", daemon=True
            )
            sys.meta_path.insert(0, _StopAtExit(thread))
            thread.start()
        return _loading


class _StopAtExit:
    """End the import when the program ends: a finder of modules that finds none.

    A daemon thread that is killed inside an import leaves locks behind, and the interpreter
    may wait for them on its way out: 2 of 80 scripts that ended meanwhile hung for good.

    Args:
        thread: The thread that imports; others are left alone.
    """

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread
        self._is_exit = False
        atexit.register(self._stop)

    def find_spec(self, *_: Any) -> None:
        """Let the import go on, or end its thread."""
        if self._is_exit and threading.current_thread() is self._thread:
            raise SystemExit

    def _stop(self) -> None:
        self._is_exit = True
        self._thread.join(_LONGEST_EXIT_S)


def _load(loading: concurrent.futures.Future[Any]) -> None:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    was_there = "litellm" in sys.modules
    try:
        import litellm

        if not was_there:  # else somebody configured it: leave that as it is
            litellm.suppress_debug_info = True
            logging.getLogger("LiteLLM").addFilter(_is_no_loop_change)
            with contextlib.suppress(Exception):
                asyncio.run(_warm_up(litellm))
    except BaseException as error:  # noqa: BLE001 - whoever waits gets it
        loading.set_exception(error)
    else:
        loading.set_result(litellm)


def _is_no_loop_change(record: logging.LogRecord) -> bool:
    """Drop what litellm's logging worker says whenever the loop changes.

    That is after every asyncio.run and in every thread. What it has begun on one loop it then
    starts on the next one too, and litellm 1.106 complains when the first loop goes on.
    """
    text = record.getMessage()
    return "event loop changed" not in text and "reuse already awaited coroutine" not in text


async def _warm_up(litellm: Any) -> None:
    await litellm.acompletion(
        model="openai/warm-up",
        messages=[{"role": "user", "content": ""}],
        api_base="http://127.0.0.1:9",  # the discard port: refused at once
        api_key="warm-up",
        timeout=1,
        max_retries=0,
    )


async def loaded() -> Any:
    """Return the litellm module; wait for its import without blocking the loop."""
    loading = begin_loading()
    return loading.result() if loading.done() else await asyncio.wrap_future(loading)


# -- requests ------------------------------------------------------------------------------------


async def complete(
    request: Request, *, model_type: str = "chat", on_text: Callable[[str], None] | None = None
) -> Any:
    """Send one request and wait for the whole answer; nothing is retried here.

    Cancelling the awaiting task closes the connection.

    Args:
        request: Options of ``litellm.acompletion``: ``model``, ``messages``, and so on.
        model_type: ``"chat"`` or ``"text"``.
        on_text: Told each piece of the answer as it arrives; the request is then streamed, and
            the returned response is whole all the same.

    Returns:
        The response, shaped like OpenAI's.

    Raises:
        LMError: No usable answer came.
    """
    litellm = await loaded()
    sent = {"num_retries": 0, "max_retries": 0, **request}
    if request.get("tools"):
        # For any tools at all, litellm 1.106 imports its MCP gateway, which needs packages that
        # it does not depend on.
        sent["_skip_mcp_handler"] = True
    handled = sys.exception()
    try:
        if model_type == "text":
            return await litellm.atext_completion(**sent)
        if on_text is None:
            return await litellm.acompletion(**sent)
        return await _streamed(litellm, sent, on_text)
    except Exception as error:
        raise translated(error, litellm, request, handled) from error
    finally:
        _hold_logging_task()


def _hold_logging_task() -> None:
    """Keep a task of litellm's alive as long as the loop it is on.

    litellm 1.106 has one that logs, and forgets it when another loop makes a call. If that is
    while the first loop stands still, between two synchronous calls, asyncio complains of a
    pending task that was destroyed.
    """
    with contextlib.suppress(AttributeError, KeyError, TypeError):  # it is not a public name
        module = sys.modules["litellm.litellm_core_utils.logging_worker"]
        vars(asyncio.get_running_loop())["_nbtool_held"] = module.GLOBAL_LOGGING_WORKER._worker_task  # noqa: SLF001 - see above


async def _streamed(litellm: Any, request: Request, on_text: Callable[[str], None]) -> Any:
    chunks: list[Any] = []
    stream = await litellm.acompletion(
        **request, stream=True, stream_options={"include_usage": True}
    )
    try:
        async for chunk in stream:
            chunks.append(chunk)
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                on_text(text)
    finally:
        with contextlib.suppress(Exception):  # closing is best effort: the answer is there or lost
            await stream.aclose()
    return litellm.stream_chunk_builder(chunks, messages=request["messages"])


def supports_response_schema(model: str) -> bool:
    """Tell whether a model can be held to a JSON schema, by litellm's table.

    False until litellm is loaded: nobody shall wait for an import to learn this.
    """
    if _loading is None or not _loading.done():
        return False
    with contextlib.suppress(Exception):  # the table does not know every model
        return bool(_loading.result().supports_response_schema(model=model))
    return False


# -- errors --------------------------------------------------------------------------------------

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
    errors.LMRateLimitError: "Send fewer requests at once, or raise num_retries.",
    errors.LMTimeoutError: "Give it more time with LM(..., timeout=seconds).",
    errors.LMServerError: "The provider failed; the same request may work later.",
    errors.LMTransportError: "Check the address (api_base) and the network.",
    errors.LMInvalidRequestError: "The provider does not take this request: check the model's "
    "name and the options.",
    errors.ContextWindowExceededError: "Shorten the inputs or demos, or use a larger model.",
}
_SERVER_ERRORS = 500
_NO_BUDGET = "insufficient_quota"  # OpenAI sends it with HTTP 429, and waiting does not help
_WANTS_KEY = re.compile(r"credential|api[ _]?key", re.IGNORECASE)  # said of a key that is missing
_CONNECTION_ERRORS = ("TransportError", "ClientError")  # roots of httpx's and of aiohttp's


def translated(
    error: Exception, litellm: Any, request: Request, handled: BaseException | None = None
) -> errors.LMError:
    """Turn what litellm raised into an error of our tree.

    Args:
        error: What was raised.
        litellm: The module.
        request: What was asked.
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
        names = ", ".join(missing)
        hint = f"Set the key in the environment ({names}), or pass LM(..., api_key=...)."
    if "LLM Provider NOT provided" in text:
        text = f"litellm knows no provider for the model {model!r}."
        hint = 'Write the provider before the name: LM("openai/gpt-4o-mini"), LM("ollama/llama3").'
    return kind(
        f"{model!r} gave no answer: {text}",
        model=model,
        provider=getattr(error, "llm_provider", None) or None,
        # Where nobody answered, litellm makes a status up.
        status=_status_of(error) if headers else None,
        request_id=headers.get("x-request-id") or headers.get("request-id"),
        retry_after=_seconds(headers.get("retry-after")),
        hint=hint,
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


def _missing_keys(litellm: Any, request: Request) -> tuple[str, ...]:
    """Return the variables that hold the provider's key, where no key was given at all."""
    if request.get("api_key"):
        return ()
    with contextlib.suppress(Exception):  # the table does not know every provider
        missing = litellm.validate_environment(model=request.get("model"))["missing_keys"]
        return tuple(sorted(str(name) for name in missing if "KEY" in name))
    return ()


def _keys_of(request: Request) -> tuple[str, ...]:
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
            isinstance(error, litellm.ContextWindowExceededError),
            errors.ContextWindowExceededError,
        ),
        (
            any(isinstance(cause, (litellm.Timeout, TimeoutError)) for cause in causes),
            errors.LMTimeoutError,
        ),
        (not answered and any(map(_is_connection_error, causes)), errors.LMTransportError),
        (not has_key, errors.LMAuthError),
        # The provider needs a package that is not there; asking again is no use.
        (any(isinstance(cause, ImportError) for cause in causes), errors.LMProviderError),
        (isinstance(error, litellm.APIConnectionError), errors.LMTransportError),
        (any(getattr(c, "code", None) == _NO_BUDGET for c in causes), errors.LMBillingError),
    )
    by_status = _kind_by_status(_status_of(error))
    return next((kind for holds, kind in rules if holds), by_status)


def _kind_by_status(status: int | None) -> type[errors.LMError]:
    if status is None:
        return errors.LMProviderError
    if status >= _SERVER_ERRORS:
        return errors.LMServerError
    return _BY_STATUS.get(status, errors.LMProviderError)


def _is_connection_error(cause: BaseException) -> bool:
    return any(base.__name__ in _CONNECTION_ERRORS for base in type(cause).__mro__)


def _seconds(header: str | None) -> float | None:
    try:
        return max(0.0, float(header)) if header is not None else None
    except ValueError:  # an HTTP date: rare, and the back-off does without it
        return None
