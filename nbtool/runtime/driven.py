"""Being driven as asyncio drives a coroutine: by ``send`` and ``throw``."""

from __future__ import annotations

import asyncio
import collections.abc
import inspect
import sys
import weakref
from asyncio import events
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from types import TracebackType

T = TypeVar("T")
F = TypeVar("F", bound="Callable[..., Any]")


class Driven(collections.abc.Coroutine[Any, Any, T], Generic[T]):
    """Be a coroutine that several tasks may drive, each to the same result.

    `asyncio.run`, ``create_task`` and ``gather`` take it as they take any coroutine.
    """

    _iterators: weakref.WeakKeyDictionary[Any, Any] | None = None

    def _coroutine(self) -> Coroutine[Any, Any, T]:
        """Make the coroutine that one task drives."""
        raise NotImplementedError

    def _abandon(self) -> None:
        """Take note that it was closed, and nobody had driven it."""

    def send(self, value: Any) -> Any:
        """Drive the call as asyncio drives a coroutine."""
        return self._iterator().send(value)

    def throw(
        self,
        kind: Any,
        value: Any = None,
        traceback: TracebackType | None = None,
    ) -> Any:
        """Raise an error where the call waits, as asyncio does to cancel."""
        error = kind if value is None else value
        if traceback is not None:
            error = error.with_traceback(traceback)
        if not self._iterators or _driver() not in self._iterators:
            self._abandon()  # the task is cancelled before its first step
            raise error
        return self._iterator().throw(error)

    def close(self) -> None:
        """End a call that was not awaited to its end, as for a coroutine."""
        iterator = self._iterators.pop(_driver(), None) if self._iterators else None
        if iterator is not None:
            iterator.close()
        else:
            self._abandon()

    def _iterator(self) -> Any:
        if self._iterators is None:
            self._iterators = weakref.WeakKeyDictionary()
        driver = _driver()
        iterator = self._iterators.get(driver)
        if iterator is None:
            iterator = self._iterators[driver] = self._coroutine()
        return iterator


class _NoTask:
    """Stand for whoever drives a call by hand."""


_BY_HAND = _NoTask()


def _driver() -> Any:
    running = events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none
    return (asyncio.current_task(running) if running is not None else None) or _BY_HAND


def marked_as_coroutine_function(function: F) -> F:
    """Let libraries that ask see that a method's result is to be awaited.

    `inspect.iscoroutinefunction` sees it on Python 3.12 and later; before, only
    `asyncio.iscoroutinefunction` does.
    """
    if sys.version_info >= (3, 12):
        return inspect.markcoroutinefunction(function)
    function._is_coroutine = asyncio.coroutines._is_coroutine  # noqa: SLF001 # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportFunctionMemberAccess] - what 3.11 looks for
    return function
