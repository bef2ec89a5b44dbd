"""A whole program on a loop that others use too: it ends what it leaves behind, and only that."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import sys
import weakref
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Generator

_LAST_WORDS_S = 5.0


class _Program:
    """What one program has started."""

    def __init__(self) -> None:
        self.tasks: weakref.WeakSet[asyncio.Future[Any]] = weakref.WeakSet()
        self.generators: weakref.WeakSet[AsyncGenerator[Any, Any]] = weakref.WeakSet()


_current: contextvars.ContextVar[_Program | None] = contextvars.ContextVar(
    "nbtool_program", default=None
)


async def as_program(main: Awaitable[Any]) -> Any:
    """Await `main`, then end what it left behind, as `asyncio.run` does.

    Tasks that others start on the same loop meanwhile, a kernel's own among them, are not touched.

    Args:
        main: The program.

    Returns:
        What `main` returns.
    """
    loop = asyncio.get_running_loop()
    program = _Program()
    token = _current.set(program)
    try:
        with _noting_tasks(loop), _noting_generators():
            return await main
    finally:
        _current.reset(token)
        await _end(loop, program)


@contextlib.contextmanager
def _noting_tasks(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    before = loop.get_task_factory()

    def factory(on: Any, coro: Any, **options: Any) -> Any:
        task = before(on, coro, **options) if before else asyncio.Task(coro, loop=on, **options)
        program = _current.get()
        if program is not None:
            program.tasks.add(task)
        return task

    loop.set_task_factory(factory)
    try:
        yield
    finally:
        if loop.get_task_factory() is factory:  # else another program laid its own over it
            loop.set_task_factory(before)


@contextlib.contextmanager
def _noting_generators() -> Generator[None]:
    before = sys.get_asyncgen_hooks()

    def first_iteration(generator: AsyncGenerator[Any, Any]) -> None:
        program = _current.get()
        if program is not None:
            program.generators.add(generator)
        if before.firstiter is not None:
            before.firstiter(generator)

    sys.set_asyncgen_hooks(firstiter=first_iteration)
    try:
        yield
    finally:
        if sys.get_asyncgen_hooks().firstiter is first_iteration:
            sys.set_asyncgen_hooks(firstiter=before.firstiter)


async def _end(loop: asyncio.AbstractEventLoop, program: _Program) -> None:
    left = {
        task for task in program.tasks if not task.done() and task is not asyncio.current_task()
    }
    for task in left:
        task.cancel()
    if left:
        await asyncio.wait(left, timeout=_LAST_WORDS_S)
    for task in left:
        if task.done() and not task.cancelled() and task.exception() is not None:
            loop.call_exception_handler(
                {
                    "message": "a task that main() left behind failed while it was cancelled",
                    "exception": task.exception(),
                    "task": task,
                }
            )
    for generator in list(program.generators):
        with contextlib.suppress(Exception):  # asyncio reports these, and goes on
            await generator.aclose()
