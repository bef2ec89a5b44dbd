"""Functions as the notebook defines them now: what Retry runs.

A function is looked up again by module and qualified name. A method is looked up on its class,
looked up the same way; its object then becomes one of the new class. What is defined inside of
another function has no name that leads to it, so it stays as it is, and the person is told.

A step's subject may hold the function itself, as a tool does. It then has a method
``__debug_refresh__(look_up)``, which replaces each function by ``look_up(function)``.
"""

from __future__ import annotations

import functools
import sys
import types
from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import DebugError
from nbtool.tracing.boundary import without_waiting

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.debugging.stops import Stop

_MISSING: Any = object()


class Renewal:
    """Look up functions, and note what could not be looked up.

    Attributes:
        notes: Why a function stays as it is, in words.
    """

    def __init__(self) -> None:
        self.notes: list[str] = []

    def look_up(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return a function as its module defines it now; itself where that is not sound."""
        if isinstance(fn, functools.partial):
            part = cast("functools.partial[Any]", fn)
            return functools.partial(self.look_up(part.func), *part.args, **part.keywords)
        rebind = getattr(fn, "rebound", None)  # of a decorated function
        if rebind is not None:
            found = self.look_up(fn.__wrapped__)  # type: ignore[attr-defined]
            return rebind(getattr(found, "__nbtool_step__", found))
        if isinstance(fn, types.MethodType):
            return self._method(fn)
        if isinstance(fn, types.FunctionType):
            return self._function(fn)
        return fn

    def _function(self, fn: types.FunctionType) -> Callable[..., Any]:
        if fn.__name__ == "<lambda>" or "<locals>" in fn.__qualname__:
            self.notes.append(
                f"{fn.__qualname__!r} cannot be looked up again: the same function will run. "
                "To run another one, pass func=."
            )
            return fn
        found = _by_name(fn.__module__, fn.__qualname__)
        if found is _MISSING or not callable(found):
            self.notes.append(
                f"{fn.__module__}.{fn.__qualname__} is no function any more: the one from before "
                "will run. To run another one, pass func=."
            )
            return fn
        return fn if getattr(found, "__wrapped__", None) is fn else found

    def _method(self, fn: types.MethodType) -> Callable[..., Any]:
        owner = fn.__self__
        if isinstance(owner, type):  # a class method
            found = _by_name(owner.__module__, owner.__qualname__)
            return getattr(found, fn.__name__, fn)
        self._renew_class(owner)
        return getattr(owner, fn.__name__, fn)

    def _renew_class(self, owner: Any) -> None:
        old = cast("type[Any]", type(owner))
        new = _by_name(old.__module__, old.__qualname__)
        if new is old or not isinstance(new, type):
            if "<locals>" in old.__qualname__:
                self.notes.append(
                    f"The class {old.__qualname__!r} cannot be looked up again: the same code "
                    "will run. To run another function, pass func=."
                )
            return
        try:
            owner.__class__ = new
        except TypeError as error:
            raise DebugError(
                f"The object of {old.__qualname__!r} cannot become one of the new class: {error}.",
                hint="Pass the new function: `session.retry(func=...)`.",
            ) from error


def _by_name(module: str, qualified_name: str) -> Any:
    found: Any = sys.modules.get(module, _MISSING)
    for part in qualified_name.split("."):
        found = getattr(found, part, _MISSING)
    return found


def latest(stop: Stop) -> tuple[Callable[..., Any] | None, str]:
    """Return what Retry runs for a branch, and what a person should know of it.

    Args:
        stop: The branch.

    Raises:
        DebugError: The new code cannot be run for the old object; the message says what to pass.
    """
    renewal = Renewal()
    refresh = getattr(stop.span.subject, "__debug_refresh__", None)
    if refresh is not None:
        refresh(renewal.look_up)
    fn = stop.fn
    if fn is None:
        return None, ""
    inline = getattr(fn, "inline", None)
    if refresh is not None:
        found = fn
    elif inline is not None:
        found = without_waiting(renewal.look_up(inline))
    else:
        found = renewal.look_up(fn)
    return found, " ".join(renewal.notes)


def replaced(stop: Stop, func: Callable[..., Any]) -> Callable[..., Any] | None:
    """Return what runs for a branch that waits, with a given function as the step's.

    Args:
        stop: The branch.
        func: The function; the step's object keeps it where it holds one, as a tool does.

    Raises:
        DebugError: `func` cannot be called.
    """
    if not callable(func):
        raise DebugError(f"func={func!r} cannot be called.", hint="Pass a function.")
    refresh = getattr(stop.span.subject, "__debug_refresh__", None)
    if refresh is not None:
        refresh(functools.partial(_always, func))
        return stop.fn
    inline = getattr(stop.fn, "inline", None)
    return without_waiting(func) if inline is not None else func


def _always(func: Callable[..., Any], _: Callable[..., Any]) -> Callable[..., Any]:
    return func


def of_other_subject(stop: Stop, subject: Any) -> Callable[..., Any]:
    """Return the same method of another object, which becomes the step's subject.

    Raises:
        DebugError: It has no such method.
    """
    name = getattr(stop.fn, "__name__", "")
    method = getattr(subject, name, None)
    if method is None:
        raise DebugError(
            f"{subject!r} cannot take the place of {stop.span.subject!r}.", hint="Pass an LM."
        )
    stop.span.subject = subject
    stop.span.name = getattr(subject, "span_name", stop.span.name)
    return method
