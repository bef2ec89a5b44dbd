"""What passes the cache: an LM's requests, and users' own functions."""

from __future__ import annotations

import copy
import functools
import inspect
import logging
import warnings
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeGuard, TypeVar, cast

from nbtool.lm.caching.current import cache_in_use
from nbtool.lm.caching.entries import Entry, entry_of
from nbtool.lm.caching.flights import joined
from nbtool.lm.caching.keys import IGNORED, key_of
from nbtool.lm.caching.tiers import Cache
from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker
from nbtool.tracing.boundary import current_span

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection

    Ask = Callable[[], Awaitable[Any]]

F = TypeVar("F", bound="Callable[..., Any]")
Request = dict[str, Any]
_log = logging.getLogger("nbtool")

_FUNCTION = "_fn_identifier"  # DSPy's name, which users' own `cache_key` may know


async def answered(request: Request, ask: Ask) -> Any:
    """Answer an LM's request from the cache, or together with others.

    The step that the calling code is part of says ``cache_hit`` or ``shared``.

    Args:
        request: What is asked, as a key sees it.
        ask: Asks the provider.

    Returns:
        The response of `ask`, or a copy of it with an empty ``usage``.
    """
    response, source = await _found(request, ask, IGNORED, in_memory=True)
    span = current_span()
    if source != "asked" and span is not None and span.kind == "lm":
        span.annotate(**{source: True})
    return response


async def _found(
    request: Request, ask: Ask, ignored: Collection[str], *, in_memory: bool
) -> tuple[Any, Literal["asked", "cache_hit", "shared"]]:
    tiers = _tiers_for(request, ignored, in_memory)
    if tiers is None:
        return await ask(), "asked"
    entry = tiers.recall()
    if entry is not None:
        return entry.read(), "cache_hit"

    async def fetch_or_ask() -> tuple[Any, Entry | None, bool]:
        kept = await tiers.fetch()
        if kept is not None:
            return None, kept, True
        value = await ask()
        entry = entry_of(value)
        if entry is not None:
            await tiers.keep(value, entry)
        return value, entry, False

    landed = await joined(tiers.flight, fetch_or_ask)
    value, entry, is_hit = landed.value
    if is_hit and entry is not None:
        return entry.read(), "cache_hit"
    if landed.is_first:
        return value, "asked"
    return value if entry is None else entry.read(is_hit=False), "shared"


def warn_of_rollout(rollout_id: Any, temperature: float | None) -> bool:
    """Warn where another rollout is likely to bring the same answer again.

    Args:
        rollout_id: What tells apart requests that are the same otherwise; None for no rollout.
        temperature: Sampling temperature; None where the provider decides.

    Returns:
        Whether there was something to warn of.

    Source:
        The first words at temperature 0 as in DSPy.
    """
    if rollout_id is None or temperature:
        return False
    if temperature is None:
        text = (
            f"rollout_id={rollout_id!r} brings another answer only where the model samples, and "
            "no temperature is set, so the provider decides that: pass temperature > 0."
        )
    else:
        text = (
            "rollout_id has no effect on what a model answers at temperature=0 "
            f"(rollout_id={rollout_id!r}): pass temperature > 0."
        )
    warnings.warn(text, UserWarning, stacklevel=2)
    return True


def request_cache(
    cache_arg_name: str | None = None,
    ignored_args_for_cache_key: Collection[str] | None = None,
    enable_memory_cache: bool = True,
    *,
    maxsize: int | None = None,
) -> Callable[[F], F]:
    """Cache in ``nbtool.cache`` what a function returns, by its arguments.

    Calls whose arguments have no JSON form are not cached, nor is None. Of identical calls of a
    coroutine function at the same time one runs, in a task of its own, and all get its result.
    A function whose source was changed is another one; what it reads from outside does not count.

    Args:
        cache_arg_name: Argument, a dict, that alone counts; by default all arguments count.
        ignored_args_for_cache_key: Arguments that do not count; by default ``api_key``,
            ``api_base`` and ``base_url``.
        enable_memory_cache: False keeps results on disk only.
        maxsize: Accepted for DSPy's sake and ignored; see `configure_cache`.

    Returns:
        A decorator for a function or coroutine function.

    Example:
        >>> import nbtool
        >>> nbtool.configure_cache(enable_disk_cache=False)
        >>> @nbtool.request_cache()
        ... def double(x):
        ...     print("working")
        ...     return 2 * x
        >>> double(4), double(x=4)
        working
        (8, 8)
        >>> nbtool.configure_cache()

    Source:
        Arguments as DSPy's decorator of that name.
    """
    if maxsize is not None:
        _log.warning(
            "maxsize=%r does nothing: see configure_cache(memory_max_entries=...).", maxsize
        )
    return functools.partial(
        _cached,
        counted=cache_arg_name,
        ignored=ignored_args_for_cache_key or IGNORED,
        in_memory=enable_memory_cache,
    )


def _cached(fn: F, *, counted: str | None, ignored: Collection[str], in_memory: bool) -> F:
    signature, identity = inspect.signature(fn), _identity_of(fn)

    def request_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Request:
        named = _named(signature, args, kwargs)
        return {**(named if counted is None else dict(named[counted])), **identity}

    async def acall(*args: Any, **kwargs: Any) -> Any:
        ask = functools.partial(fn, *args, **kwargs)
        return (await _found(request_of(args, kwargs), ask, ignored, in_memory=in_memory))[0]

    def call(*args: Any, **kwargs: Any) -> Any:
        tiers = _tiers_for(request_of(args, kwargs), ignored, in_memory)
        if tiers is None:
            return fn(*args, **kwargs)
        kept = tiers.recall() or run(tiers.fetch())
        if kept is not None:
            return kept.read()
        value = fn(*args, **kwargs)  # here, not behind the door: it stays in its thread
        entry = entry_of(value)
        if entry is not None:
            run(tiers.keep(value, entry))
        return value

    cached = acall if inspect.iscoroutinefunction(fn) else call
    return cast("F", functools.update_wrapper(cached, fn))


def _identity_of(fn: Callable[..., Any]) -> Request:
    """Return what tells a function from others: in notebooks many are called ``__main__.ask``."""
    try:
        source = inspect.getsource(fn)
    except (OSError, TypeError):  # it has none, or none that is at hand
        source = None
    return {_FUNCTION: f"{fn.__module__}.{fn.__qualname__}", "_fn_source": source}


def _named(
    signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    named = dict(bound.arguments)
    for parameter in signature.parameters.values():
        if parameter.kind is parameter.VAR_KEYWORD:
            named.update(named.pop(parameter.name))
    return named


# -- one request and the cache -------------------------------------------------------------------


class _Tiers(Protocol):
    """Look up one request, and keep its answer."""

    flight: tuple[int, str]

    def recall(self) -> Entry | None: ...

    async def fetch(self) -> Entry | None: ...

    async def keep(self, value: Any, entry: Entry) -> None: ...


def _tiers_for(request: Request, ignored: Collection[str], in_memory: bool) -> _Tiers | None:
    cache = cache_in_use()
    if cache is None:
        return None
    if _is_ours(cache):
        key = cache.key_or_none(request, ignored)
        return None if key is None else _Ours(cache, key, in_memory)
    # What does not count is not shown to it either: there are keys among that.
    counted = {name: value for name, value in request.items() if name not in ignored}
    try:
        flight = id(cache), key_of(counted, ())
        counted = copy.deepcopy(counted)  # the function may change its arguments
    except Exception:  # noqa: BLE001 - as in `Cache.key_or_none`
        return None
    return _Users(cache, counted, flight, ignored, in_memory)


def _is_ours(cache: Any) -> TypeGuard[Cache]:
    """Tell whether it is read and written by key, off the loop.

    A subclass may have methods of its own, and a test may have patched those of the object.
    """
    return isinstance(cache, Cache) and all(
        getattr(getattr(cache, name), "__func__", None) is method
        for name, method in (("get", Cache.get), ("put", Cache.put))
    )


class _Ours:
    def __init__(self, cache: Cache, key: str, in_memory: bool) -> None:
        self._cache = cache
        self._key = key
        self._in_memory = in_memory
        self.flight = id(cache), key

    def recall(self) -> Entry | None:
        return self._cache.recall(self._key)

    async def fetch(self) -> Entry | None:
        return await self._cache.fetch(self._key)

    async def keep(self, value: Any, entry: Entry) -> None:  # noqa: ARG002 - a seam
        self._cache.keep(self._key, entry, in_memory=self._in_memory)


class _Users:
    """A cache of the user's, of whatever class: it may block, and it may fail."""

    def __init__(
        self,
        cache: Any,
        request: Request,
        flight: tuple[int, str],
        ignored: Collection[str],
        in_memory: bool,
    ) -> None:
        self._cache = cache
        self._request = request
        self._ignored = list(ignored)
        self._in_memory = in_memory
        self.flight = flight

    def recall(self) -> Entry | None:
        return None

    async def fetch(self) -> Entry | None:
        return entry_of(await self._asked("get", self._request, self._ignored))

    async def keep(self, value: Any, entry: Entry) -> None:  # noqa: ARG002 - a seam
        await self._asked("put", self._request, value, self._ignored, self._in_memory)

    async def _asked(self, method: str, *args: Any) -> Any:
        try:
            found = await in_worker(functools.partial(getattr(self._cache, method), *args))
            return await found if inspect.isawaitable(found) else found
        except Exception:  # noqa: BLE001 - a cache must not fail a call
            _log.warning(
                "%s.%s failed; the call goes on without.",
                type(self._cache).__name__,
                method,
                exc_info=True,
            )
            return None
