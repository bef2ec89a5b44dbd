"""Who may change settings for the whole process.

Settings that one task changes while others run would reach into their chains. So the first thread
that configures owns the settings, and in asynchronous code the first task; the others lay a
`context`. Whoever knows of places where that rule is too strict, or not strict enough, says so
here: a notebook's cells are each a task or a thread of their own, and may always configure; threads
and tasks of a running chain never may.
"""

from __future__ import annotations

import dataclasses
import sys
import threading
import weakref
from typing import TYPE_CHECKING, Any, NoReturn

from nbtool.errors import SettingsOwnershipError

if TYPE_CHECKING:
    from collections.abc import Callable

_HINT = "Write `with context(...):` round the code that needs other settings."


@dataclasses.dataclass(slots=True)
class _Owner:
    """Who configured first; weakly, for owning settings must keep nobody alive."""

    thread: weakref.ref[threading.Thread] | None = None
    task: weakref.ref[Any] | None = None
    loop: weakref.ref[Any] | None = None


_owner = _Owner()
_allowed: list[Callable[[], bool]] = []
_refused: list[tuple[Callable[[], bool], str]] = []


def allow_where(test: Callable[[], bool]) -> None:
    """Let settings be changed wherever a test is true, whoever owns them.

    Args:
        test: Called in the place where somebody wants to change them.
    """
    if test not in _allowed:
        _allowed.append(test)


def allow_no_more(test: Callable[[], bool]) -> None:
    """Undo `allow_where`."""
    if test in _allowed:
        _allowed.remove(test)


def refuse_where(test: Callable[[], bool], place: str) -> None:
    """Refuse to change settings wherever a test is true, but to their owner.

    Args:
        test: Called in the place where somebody wants to change them.
        place: What to call that place in the error.
    """
    _refused.append((test, place))


def claim() -> None:
    """Make the calling thread and task the owner of the settings, or refuse.

    Raises:
        SettingsOwnershipError: They belong to somebody else.
    """
    if any(test() for test in _allowed):
        return
    task = _current_task()
    if task is not None and _is_owner(task):
        return
    for test, place in _refused:
        if test():
            _refuse(f"they were changed in {place}, whose settings others share.")
    _claim_thread()
    if task is not None:
        _claim_task(task)


def _claim_thread() -> None:
    here = threading.current_thread()
    if _owner.thread is None:
        _owner.thread = weakref.ref(here)
        return
    thread = _owner.thread()
    if thread is here:
        return
    # A thread that has ended owns nothing any more; but only the main thread takes over, for a
    # server whose threads come and go would else fail only when two of them meet.
    has_ended = thread is None or not thread.is_alive()
    if not has_ended or here is not threading.main_thread():
        _refuse(
            "dspy.settings can only be changed by the thread that initially configured it. "
            f"That was {_name_of(thread)}; this is {here.name!r}."
        )
    _owner.thread = weakref.ref(here)


def _claim_task(task: Any) -> None:
    loop = _owner.loop() if _owner.loop is not None else None
    # After the loop of its owner, as of one `asyncio.run` before the next, nobody is disturbed;
    # while it runs, the next request of a server must fail as surely as one at the same time.
    if loop is not None and not loop.is_closed():
        _refuse(
            "dspy.configure(...) can only be called from the same async task that called it "
            "first. Please use `dspy.context(...)` in other async tasks instead."
        )
    _owner.task, _owner.loop = weakref.ref(task), weakref.ref(task.get_loop())


def _is_owner(task: Any) -> bool:
    return _owner.task is not None and _owner.task() is task


def _current_task() -> Any:
    asyncio = sys.modules.get("asyncio")  # where nobody has imported it, no task runs
    if asyncio is None:
        return None
    try:
        return asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return None


def _name_of(thread: threading.Thread | None) -> str:
    return repr(thread.name) if thread is not None else "a thread that has ended"


def _refuse(what: str) -> NoReturn:
    raise SettingsOwnershipError(f"Settings belong to the whole process: {what}", hint=_HINT)
