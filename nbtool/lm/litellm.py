# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportMissingTypeStubs=false
# litellm has no complete types; nothing unknown leaves this file.
"""The transport over litellm, and the only file that imports it.

The import takes seconds, holds the GIL in pieces and would ask the network for a price table, so
it happens in a thread of its own, once, with the packaged table; a first throw-away request to a
closed loopback port then pulls in what litellm itself imports lazily, which would otherwise stall
the loop for 0.4 s.

litellm is called by its module attributes, so that users' patches and callbacks work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

from nbtool.errors import MissingExtraError
from nbtool.lm import failures
from nbtool.lm.connections import keep_with_session, loops_session
from nbtool.lm.loading import Loader
from nbtool.lm.streaming import NoEventsError
from nbtool.runtime.door import run

if TYPE_CHECKING:
    import concurrent.futures
    from collections.abc import AsyncGenerator, Callable

    from nbtool.lm.transport import Request

_TEXT_PROVIDERS = ("openai", "text-completion-openai")
_USAGE_WARNING = r"Pydantic serializer warnings:\s+\w+\(Expected `ResponseAPIUsage`"
_LAST_EVENTS = ("response.completed", "response.incomplete", "response.failed")

# -- loading -------------------------------------------------------------------------------------


def _load() -> Any:
    os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
    was_there = "litellm" in sys.modules
    import litellm

    if not was_there:  # else somebody configured it: leave that as it is
        litellm.suppress_debug_info = True
        logging.getLogger("LiteLLM").addFilter(_is_no_loop_change)
        # What its own logging does to the usage of a Responses API answer, litellm 1.110.
        warnings.filterwarnings("ignore", _USAGE_WARNING, UserWarning)
        with contextlib.suppress(Exception):
            asyncio.run(_warm_up(litellm))
    return litellm


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


_loader = Loader("nbtool-load-litellm", _load)


def begin_loading() -> concurrent.futures.Future[Any]:
    """Start importing litellm in a daemon thread, unless that was done.

    Returns:
        A future of the module.
    """
    return _loader.begin()


async def loaded() -> Any:
    """Return the litellm module; wait for its import without blocking the loop.

    Raises:
        MissingExtraError: It cannot be imported.
    """
    loading = begin_loading()
    try:
        return loading.result() if loading.done() else await asyncio.wrap_future(loading)
    except ImportError as error:
        raise MissingExtraError(
            f"litellm, which carries requests to providers, cannot be imported: {error}.",
            hint='Run: pip install --upgrade "litellm>=1.106". Then restart this program.',
        ) from error


# -- what models can do --------------------------------------------------------------------------


def can(model: str, ability: str) -> bool:
    """Look an ability of a model up in litellm's table; False where it knows nothing.

    Waits for litellm's import where it has to; `loaded` waits beforehand, and without blocking.

    Args:
        model: Name of the model.
        ability: One of ``"function_calling"``, ``"reasoning"``, ``"response_schema"``.
    """
    with contextlib.suppress(Exception):  # the table does not know every model
        return bool(getattr(_now(), f"supports_{ability}")(model=model))
    return False


def params_of(model: str) -> set[str]:
    """Return the names of the options that a model takes, by litellm's table."""
    with contextlib.suppress(Exception):  # as above
        return set(_now().get_supported_openai_params(model=model) or ())
    return set()


def _now() -> Any:
    return _loader.begin().result() if _loader.has_loaded else run(loaded())


# -- requests ------------------------------------------------------------------------------------


class LitellmTransport:
    """Carry requests to any provider that litellm knows; see `Transport`."""

    async def complete(self, request: Request) -> Any:
        """Send one request and wait for the whole answer."""
        return await _carried(request, _whole)

    async def stream(self, request: Request, on_text: Callable[[str], None]) -> Any:
        """Do as `complete`, and tell the text of the answer while it arrives."""

        async def streamed(litellm: Any, request: Request, sent: dict[str, Any]) -> Any:
            return await _streamed(litellm, request, sent, on_text)

        return await _carried(request, streamed)


litellm_transport = LitellmTransport()
"""What `LM` uses, unless it is given another."""


async def _carried(request: Request, send: Callable[..., Any]) -> Any:
    with _loader.in_use():
        litellm = await loaded()
        handled = sys.exception()
        options = request.options
        timeout_s = options.get("timeout")
        limit = asyncio.timeout(timeout_s if isinstance(timeout_s, int | float) else None)
        try:
            async with limit:
                return await send(litellm, request, await _sent(litellm, request))
        except Exception as error:
            if limit.expired():  # litellm's own limits start anew with each piece of an answer
                raise failures.too_slow(options) from error
            raise failures.translated(error, litellm, options, handled) from error
        finally:
            _hold_logging_task()


async def _sent(litellm: Any, request: Request) -> dict[str, Any]:
    """Return all that litellm is called with."""
    session = await loops_session()
    options = request.options
    sent: dict[str, Any] = {
        "num_retries": 0,  # the one retry layer is ours
        "max_retries": 0,
        "cache": {"no-cache": True, "no-store": True},  # so is the cache
        "shared_session": session,
        **options,
        "headers": {"User-Agent": _user_agent(), **(options.get("headers") or {})},
    }
    if options.get("tools"):
        # For any tools at all, litellm 1.106 imports its MCP gateway, which needs packages that
        # it does not depend on.
        sent["_skip_mcp_handler"] = True
    if request.model_type == "text":
        del sent["shared_session"]  # it would be sent to the provider
        sent.update(_text_client(litellm, options, session))
    return sent


async def _whole(litellm: Any, request: Request, sent: dict[str, Any]) -> Any:
    if request.model_type == "text":
        return await litellm.atext_completion(**sent)
    if request.model_type == "responses":
        return await litellm.aresponses(**sent)
    return await litellm.acompletion(**sent)


async def _streamed(
    litellm: Any, request: Request, sent: dict[str, Any], on_text: Callable[[str], None]
) -> Any:
    if request.model_type == "responses":
        return await _streamed_events(await litellm.aresponses(**sent, stream=True), on_text)
    call = litellm.atext_completion if request.model_type == "text" else litellm.acompletion
    chunks: list[Any] = []
    async with _closed(
        await call(**sent, stream=True, stream_options={"include_usage": True})
    ) as stream:
        async for chunk in stream:
            chunks.append(chunk)
            text = _text_of(chunk)
            if text:
                on_text(text)
    if not any(map(_says_anything, chunks)):
        raise NoEventsError("the answer has no event of a stream")
    whole = litellm.stream_chunk_builder(chunks, messages=sent.get("messages"))
    _note_price(litellm, whole, sent)
    return whole


def _note_price(litellm: Any, whole: Any, sent: dict[str, Any]) -> None:
    """Put the price where unstreamed answers have it; litellm forgets prices of your own."""
    names = ("input_cost_per_token", "output_cost_per_token")
    own = {name: sent[name] for name in names if name in sent}
    with contextlib.suppress(Exception):  # the table does not know every model
        if whole._hidden_params.get("response_cost") is None:  # noqa: SLF001 - where users read it too
            whole._hidden_params["response_cost"] = litellm.completion_cost(  # noqa: SLF001 - as above
                completion_response=whole, model=sent["model"], custom_cost_per_token=own or None
            )


def _says_anything(chunk: Any) -> bool:
    """Tell a provider's chunk from those that litellm makes where there was none."""
    if getattr(chunk, "usage", None) is not None:
        return True
    if not chunk.choices:
        return False
    choice = chunk.choices[0]
    delta = getattr(choice, "delta", None)
    said = vars(delta).values() if delta is not None else [choice.text]
    return any(value is not None for value in said)


def _text_of(chunk: Any) -> str | None:
    if not chunk.choices or getattr(chunk.choices[0], "index", 0):
        return None
    delta = getattr(chunk.choices[0], "delta", None)
    return delta.content if delta is not None else chunk.choices[0].text


async def _streamed_events(events: Any, on_text: Callable[[str], None]) -> Any:
    """Read a stream of the Responses API; its last event has the whole response."""
    async with _closed(events) as stream:
        async for event in stream:
            if event.type == "response.output_text.delta":
                on_text(event.delta)
            elif event.type in _LAST_EVENTS:
                return event.response
    raise EOFError("the stream ended before its last event")


@contextlib.asynccontextmanager
async def _closed(stream: Any) -> AsyncGenerator[Any]:
    """Give a stream of litellm's, and close it."""
    try:
        yield stream
    finally:
        with contextlib.suppress(Exception):  # best effort: the answer is there or lost
            await stream.aclose()


def _text_client(litellm: Any, options: dict[str, Any], session: Any) -> dict[str, Any]:
    """Return a client for text models; without one litellm makes one a call, and closes none."""
    from litellm.llms.openai.common_utils import BaseOpenAILLM
    from openai import AsyncOpenAI

    compatible = litellm.openai_text_completion_compatible_providers
    _, provider, key, base = litellm.get_llm_provider(
        model=options["model"], api_base=options.get("api_base"), api_key=options.get("api_key")
    )
    # Not public; where a version has no such name, its own way has to do.
    make: Any = getattr(BaseOpenAILLM, "_get_async_http_client", None)
    if make is None or provider not in (*_TEXT_PROVIDERS, *compatible):
        return {}
    env = os.environ
    bases = (base, litellm.api_base, env.get("OPENAI_BASE_URL"), env.get("OPENAI_API_BASE"))
    keys = (key, options.get("api_key"), litellm.api_key, litellm.openai_key)
    client = AsyncOpenAI(
        api_key=next(filter(None, keys), None),  # None: OpenAI's variable, or an error that says so
        base_url=next(filter(None, bases), None),
        organization=options.get("organization") or litellm.organization,
        http_client=make(shared_session=session),
        max_retries=0,
        **({"timeout": options["timeout"]} if "timeout" in options else {}),
    )
    return {"client": client}


def _user_agent() -> str:
    return f"nbtool/{sys.modules['nbtool'].__version__}"


def _hold_logging_task() -> None:
    """Keep a task of litellm's alive as long as the loop it is on.

    litellm 1.106 has one that logs, and forgets it when another loop makes a call. If that is
    while the first loop stands still, between two synchronous calls, asyncio complains of a
    pending task that was destroyed.
    """
    with contextlib.suppress(AttributeError, KeyError):  # it is not a public name
        module = sys.modules["litellm.litellm_core_utils.logging_worker"]
        keep_with_session(module.GLOBAL_LOGGING_WORKER._worker_task)  # noqa: SLF001 - see above
