"""Calling a program whichever of the two forms it has, and making the one of the other."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")


def waiting(function: Callable[P, Awaitable[T]], name: str | None = None) -> Callable[P, T]:
    """Return a function that calls another one and waits for its result.

    Args:
        function: What it calls; arguments and docstring are those of this one.
        name: Name of the function that is returned; the other's by default.
    """

    @functools.wraps(function, updated=())  # not that it is a coroutine function
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        result = function(*args, **kwargs)
        return run(result) if inspect.isawaitable(result) else cast("T", result)

    if name is not None:
        call.__name__ = call.__qualname__ = name
    _sign(call, function)
    return call


def waiting_method(
    method: Callable[Concatenate[S, P], Awaitable[T]], name: str, says: str
) -> Callable[Concatenate[S, P], T]:
    """Return a method that calls another one of an object, and waits.

    Args:
        method: What it calls, or what a subclass has in its place; the arguments are this one's.
        name: Name of the method that is returned.
        says: Its docstring.
    """
    called = method.__name__

    def call(self: S, *args: P.args, **kwargs: P.kwargs) -> T:
        __tracebackhide__ = True  # as above
        return run(getattr(self, called)(*args, **kwargs))

    functools.update_wrapper(call, method, updated=())
    call.__name__, call.__doc__ = name, says
    call.__qualname__ = f"{method.__qualname__.rpartition('.')[0]}.{name}"
    _sign(call, method)
    return call


def _sign(call: Callable[..., Any], function: Callable[..., Any]) -> None:
    """Show the arguments of the asynchronous form, and the result instead of the `Call`."""
    signature = inspect.signature(function)
    returned = signature.return_annotation
    if isinstance(returned, str) and returned.startswith("Call["):
        returned = returned[len("Call[") : -1]
    call.__signature__ = signature.replace(return_annotation=returned)  # type: ignore[attr-defined] # pyright: ignore[reportFunctionMemberAccess] - what `help` shows


async def awaited(program: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a program and wait for its result, while the loop goes on.

    Args:
        program: What has an ``acall`` or is an ``async def`` function runs on the loop; anything
            else that can be called runs in a worker thread.
        *args: Positional arguments.
        **kwargs: Named arguments.
    """
    acall: Any = getattr(program, "acall", None)
    is_class = isinstance(cast("object", program), type)  # whose method belongs to its objects
    if acall is not None and not is_class:
        return await acall(*args, **kwargs)
    if inspect.iscoroutinefunction(program):
        return await program(*args, **kwargs)
    result = await in_worker(functools.partial(program, *args, **kwargs))
    return await cast("Any", result) if inspect.isawaitable(result) else result
