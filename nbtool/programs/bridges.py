"""Bridges: a program in the other of the two forms, synchronous and asynchronous.

Programs of nbtool can be called both ways as they are; the bridges are for what is no `Step`, and
for code that was written for DSPy.
"""

from __future__ import annotations

import functools
from types import MethodType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from nbtool.programs.module import Module
from nbtool.runtime.callables import awaited, waiting
from nbtool.runtime.door import run

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = TypeVar("P", bound="Callable[..., Any]")


def asyncify(program: Callable[..., Any]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return an ``async def`` function that runs a program while the loop goes on.

    A program with ``aforward``, or an ``async def`` function, runs on the loop; any other in one
    of at most ``settings.async_max_workers`` threads, with the caller's context. Cancelling ends
    the requests that the program waits for.

    Args:
        program: A module, or any function.

    Example:
        >>> import asyncio, nbtool
        >>> from nbtool.testing import DummyLM
        >>> ask = nbtool.asyncify(nbtool.Predict("question -> answer"))
        >>> asyncio.run(ask(question="?", lm=DummyLM([{"answer": "Paris"}]))).answer
        'Paris'

    Source:
        Name and call shape as DSPy's function of that name.
    """

    async def call(*args: Any, **kwargs: Any) -> Any:
        return await awaited(program, *args, **kwargs)

    # A module has neither of the names that are taken over from a function.
    functools.update_wrapper(call, program, updated=())
    call.__dict__.pop("__wrapped__")  # else it would be taken for synchronous
    return call


def syncify(program: P, in_place: bool = True) -> P:
    """Return a program that can be called without ``await``, in a running loop too.

    Args:
        program: A module with ``aforward``, or an ``async def`` function.
        in_place: Give the module itself a ``forward`` that waits for its ``aforward``; else
            return another module round it. A function is always wrapped.

    Returns:
        The module itself, the module round it, or a plain function.

    Example:
        >>> import nbtool
        >>> class Shout(nbtool.Module):
        ...     async def aforward(self, text):
        ...         return text.upper()
        >>> nbtool.syncify(Shout())(text="hello")
        'HELLO'

    Source:
        Name and call shape as DSPy's function of that name.
    """
    if not isinstance(program, Module):
        return cast("P", waiting(program))
    if not in_place:
        return cast("P", SyncProgram(program))
    if program.runs_on_loop:  # one that has `forward` alone can be called as it is
        program.forward = MethodType(_forward, program)
    return cast("P", program)


def _forward(self: Module, *args: Any, **kwargs: Any) -> Any:
    __tracebackhide__ = True  # IPython and pytest leave such frames out
    return run(self.aforward(*args, **kwargs))


class SyncProgram(Module):
    """Be a synchronous program round another one, which stays as it is.

    Args:
        program: The program that does the work.
    """

    def __init__(self, program: Module) -> None:
        super().__init__()
        self.program = program

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program, and wait for it."""
        __tracebackhide__ = True  # as above
        return run(self.program.acall(*args, **kwargs))
