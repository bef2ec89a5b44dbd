"""A function that is a step of the trace whenever it is called."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool.tracing.boundary import traced, traced_inline

if TYPE_CHECKING:
    from collections.abc import Callable

Described: TypeAlias = "tuple[str, Callable[..., Any], dict[str, Any], object]"
"""A step's name, what is called with its inputs, these by name, and whose step it is."""


def as_step(function: Callable[..., Any], described: Callable[..., Described]) -> Any:
    """Return a function that does what another one does, inside of a span.

    Args:
        function: An ``async def`` or plain function.
        described: Called with the arguments of a call; returns the step's name, what is called
            with its inputs, these by name, and whose step it is.

    Returns:
        A function of the same signature and kind.
    """

    async def async_step(*args: Any, **kwargs: Any) -> Any:
        name, call, inputs, subject = described(*args, **kwargs)
        return await traced("function", name, call, inputs, subject=subject)

    def sync_step(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        name, call, inputs, subject = described(*args, **kwargs)
        return traced_inline("function", name, call, inputs, subject=subject)

    step: Any = async_step if inspect.iscoroutinefunction(function) else sync_step
    functools.update_wrapper(step, function)
    step.__nbtool_step__ = function  # a debugger looks it up
    return step


def caller(function: Callable[..., Any], signature: inspect.Signature) -> Callable[..., Any]:
    """Return what calls a function with the arguments of a span."""

    def call(**inputs: Any) -> Any:
        bound = inspect.BoundArguments(signature, cast("Any", inputs))
        return function(*bound.args, **bound.kwargs)

    def rebound(other: Callable[..., Any]) -> Callable[..., Any]:
        return caller(other, inspect.signature(other))

    call.__signature__ = signature  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - what an edit is checked against
    call.__wrapped__ = function  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - a debugger looks it up again
    call.rebound = rebound  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - and runs what it finds
    return call
