"""`@traced`: a user's own function as a step of the trace."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from nbtool.tracing import (
    process,  # noqa: F401 # pyright: ignore[reportUnusedImport] - calls are recorded from now on
)
from nbtool.tracing.wrapping import as_step, caller

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.tracing.wrapping import Described

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
    call = caller(function, signature)

    def described(*args: Any, **kwargs: Any) -> Described:
        return shown, call, dict(signature.bind(*args, **kwargs).arguments), None

    return as_step(function, described)
