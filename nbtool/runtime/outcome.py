"""`Outcome`: how a chain ended, as a value that can cross tasks and threads."""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import os
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from nbtool.runtime.variables import copy_changed

if TYPE_CHECKING:
    from collections.abc import Awaitable
    from types import TracebackType

T = TypeVar("T")

# The outermost task of the chain of which the calling code, or a child task of it, is part. A
# weak reference, since the task's own context holds it.
root_task: contextvars.ContextVar[weakref.ref[asyncio.Task[Any]] | None] = contextvars.ContextVar(
    "nbtool_root_task", default=None
)
_PACKAGE = str(Path(__file__).parent.parent) + os.sep


@dataclasses.dataclass(slots=True)
class Outcome(Generic[T]):
    """Hold a value or an error, and what became of context variables.

    Attributes:
        value: What the chain returned.
        error: What it raised instead.
        start: Its Context before the first step.
        end: Its Context after the last.
    """

    value: T | None
    error: BaseException | None
    start: contextvars.Context
    end: contextvars.Context

    def value_or_raise(self) -> T:
        """Return the value or raise the error; it can be asked for again."""
        __tracebackhide__ = True
        if self.error is not None:
            raise self.error
        return self.value  # type: ignore[return-value] # it is there when there is no error

    def unwrap(self) -> T:
        """Return the value or raise the error, with the chain's variables set here."""
        copy_changed(self.start, self.end)
        __tracebackhide__ = True
        if self.error is not None:
            try:
                raise self.error.with_traceback(users_frames(self.error.__traceback__))
            finally:
                self.error = None  # the traceback holds this frame, which holds the error
        return self.value  # type: ignore[return-value] # it is there when there is no error


async def guarded(awaitable: Awaitable[T], timeout_s: float | None = None) -> Outcome[T]:
    """Wait for a chain and catch whatever it raises as a value.

    Raised through a task they would stop the loop that drives it, and in a kernel that loop is
    the kernel's: ``sys.exit()`` in a tool would end it. Cancellation passes as it must.
    """
    _enter_root()
    start = contextvars.copy_context()
    try:
        if timeout_s is None:
            value = await awaitable
        else:
            async with asyncio.timeout(timeout_s):
                value = await awaitable
    except asyncio.CancelledError as error:
        if not isinstance(error.__cause__, KeyboardInterrupt):  # see `boundary.traced`
            raise
        return Outcome(None, error.__cause__, start, contextvars.copy_context())
    except BaseException as error:  # noqa: BLE001 - raised by unwrap
        return Outcome(None, error, start, contextvars.copy_context())
    return Outcome(value, None, start, contextvars.copy_context())


def _enter_root() -> None:
    # A function of its own: a frame of `guarded` that held the task would be held by its error.
    reference = root_task.get()
    outer = reference() if reference is not None else None
    if outer is None or outer.done():
        task = asyncio.current_task()
        root_task.set(None if task is None else weakref.ref(task))


def users_frames(where: TracebackType | None) -> TracebackType | None:
    """Take our own frames out of a traceback, so that it shows the user's code.

    Set ``NBTOOL_FULL_TRACEBACK=1`` to keep them.

    Args:
        where: A traceback that nobody else holds; it is changed in place.
    """
    if os.environ.get("NBTOOL_FULL_TRACEBACK"):
        return where
    kept: list[TracebackType] = []
    while where is not None:
        if not where.tb_frame.f_code.co_filename.startswith(_PACKAGE):
            kept.append(where)
        where = where.tb_next
    outer: TracebackType | None = None
    for frame in reversed(kept):
        frame.tb_next, outer = outer, frame
    return outer
