"""`@traced`: a user's own function as a step of the trace."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from nbtool.tracing import (
    boundary,
    process,  # noqa: F401 # pyright: ignore[reportUnusedImport] - calls are recorded from now on
)

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
R = TypeVar("R")


@overload
def traced(function: Callable[P, R], /) -> Callable[P, R]: ...
@overload
def traced(*, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
def traced(function: Callable[..., Any] | None = None, /, *, name: str | None = None) -> Any:
    """Show calls of a function as steps of the trace.

    Args:
        function: An ``async def`` or plain function.
        name: Shown name; the function's own by default.

    Returns:
        A function of the same signature and kind.

    Raises:
        TypeError: It is a generator function, whose call is not one step, or what
            ``@staticmethod`` or ``@classmethod`` gives: these go above ``@traced``.

    Example:
        >>> import nbtool
        >>> @nbtool.traced
        ... def double(x):
        ...     return 2 * x
        >>> with nbtool.trace() as t:
        ...     double(4)
        8
        >>> t.spans[0].name, t.spans[0].inputs, t.spans[0].output
        ('double', {'x': 4}, 8)
    """
    if function is None:
        return functools.partial(_wrap, name=name)
    return _wrap(function, name=name)


def _wrap(function: Callable[..., Any], *, name: str | None) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(
            f"@traced was put on the generator function {function.__qualname__!r}. "
            "Decorate the function that consumes it."
        )
    kind: type[Any] = type(function)
    if issubclass(kind, (staticmethod, classmethod)):
        outer = f"@{kind.__name__}"
        raise TypeError(
            f"@traced was put on top of {outer} of {function.__qualname__!r}.\n"
            f"  Hint: write {outer} above @traced."
        )
    shown = name or function.__name__
    signature = inspect.signature(function)

    def bind(args: tuple[Any, ...], kwargs: dict[str, Any]) -> dict[str, Any]:
        return dict(signature.bind(*args, **kwargs).arguments)

    call = _caller(function, signature)

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def async_step(*args: Any, **kwargs: Any) -> Any:
            return await boundary.traced("function", shown, call, bind(args, kwargs))

        async_step.__nbtool_step__ = function  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - a debugger looks it up
        return async_step

    @functools.wraps(function)
    def sync_step(*args: Any, **kwargs: Any) -> Any:
        return boundary.traced_inline("function", shown, call, bind(args, kwargs))

    sync_step.__nbtool_step__ = function  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - as above
    return sync_step


def _caller(function: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Return what calls a function with the arguments of a span."""

    def call(**inputs: Any) -> Any:
        bound = inspect.BoundArguments(signature, cast("Any", inputs))
        return function(*bound.args, **bound.kwargs)

    def rebound(other: Callable[..., Any]) -> Callable[..., Any]:
        return _caller(other, inspect.signature(other))

    call.__signature__ = signature  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - what an edit is checked against
    call.__wrapped__ = function  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - a debugger looks it up again
    call.rebound = rebound  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - and runs what it finds
    return call
