# ruff: noqa: SLF001 - a running loop can only be stepped through private names; `why_not` tests them
# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportOptionalMemberAccess=false, reportAttributeAccessIssue=false
"""Let synchronous code wait on the event loop that runs below it, while that loop goes on.

The caller's whole stack, the loop's own frames at its bottom, is *parked* in its greenlet. Another
greenlet, a *runner*, does what the loop would do, and when the future is done it switches back, in
whatever order the futures finish. No class of asyncio is touched: a Task stays the C Task.

*Home* is the stack that carries ``run_forever``. While anybody is parked it is either parked too
or *lent*: it stands still in a handle of ours for one turn of a runner. So handles are called by
runners alone, who know which contexts are in use and whom to wake, and yet home sees after each
turn whether the loop was stopped. At any time exactly one stack moves.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
import threading
from asyncio import events, tasks
from asyncio.base_events import MAXIMUM_SELECT_TIMEOUT
from collections import deque
from contextvars import Context
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from nbtool.errors import LoopError

try:
    import greenlet
except ImportError:  # no wheel for this platform, e.g. Pyodide: `why_not` says so
    greenlet = None

if TYPE_CHECKING:
    from types import FrameType

_RUN_ONCE = asyncio.BaseEventLoop._run_once.__code__
_SOME_TIMERS = 100

_parkings: dict[asyncio.AbstractEventLoop, _Parking] = {}


def park_until(
    loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any], frame: FrameType | None = None
) -> None:
    """Block the calling code until a future is done, while the loop goes on.

    Cancelling the task that is parked cancels `future`. KeyboardInterrupt and SystemExit that a
    handle raises meanwhile come out of the oldest parked call. Stopping the loop cancels what
    those calls wait for that cannot outlive this run: home's, and calls made by plain callbacks.

    Args:
        loop: The loop that runs in this thread, below the caller; see `supported`.
        future: Future or task of that loop; its result or exception is left in it.
        frame: What `calling_frame` gave, where that was asked before.

    Raises:
        LoopError: `loop` does not run on this very stack.
    """
    if future.done():
        return
    if frame is None:
        frame = calling_frame(loop)
    if frame is None:
        raise LoopError(
            f"Cannot wait here for {future!r}: {loop!r} does not run below this call.",
            hint="Call it from a task or a callback of that loop, or use `await`.",
        )
    parking = _parkings.get(loop)
    if parking is None or parking.thread != threading.get_ident():
        parking = _new_parking(loop)
    parking.park(future, _owed(frame))


def _new_parking(loop: Any) -> _Parking:
    for other in list(_parkings.values()):  # a loop may be stopped and closed without a last turn
        if other.loop.is_closed():
            other.end()
    parking = _parkings[loop] = _Parking(loop)
    return parking


def parked_count(loop: asyncio.AbstractEventLoop) -> int:
    """Count the calls that are parked on a loop at this moment."""
    return len(_parkings[loop].callers) if loop in _parkings else 0


def is_stepping(frame: FrameType | None) -> bool:
    """Tell whether a runner called: what is raised goes to a parked call."""
    while frame is not None and frame.f_code is not _RUN:
        frame = frame.f_back
    return frame is not None


class _Caller:
    """One parked call."""

    def __init__(self, parking: _Parking, future: asyncio.Future[Any], *, at_home: bool) -> None:
        self.parking, self.future, self.stack = parking, future, greenlet.getcurrent()
        self.task: Any = asyncio.current_task(parking.loop)
        # Home must unwind before run_forever can return, and nobody can cancel a callback.
        self.ends_with_run = at_home or self.task is None
        self.was_told = False

    def leave(self) -> None:
        self.future.add_done_callback(self.wake)
        if self.task is not None:
            tasks._leave_task(self.parking.loop, self.task)
            self.was_cancelled = False
            self.cancel_task = self.task.cancel
            # On the one instance, as long as it is parked: to the task it looks as if it ran, so
            # it would only note the request and deliver it at its next await.
            self.task.cancel = self.cancel

    def enter(self) -> None:
        self.future.remove_done_callback(self.wake)
        if self.task is not None:
            del self.task.cancel
            tasks._enter_task(self.parking.loop, self.task)

    def wake(self, _: asyncio.Future[Any]) -> None:
        self.parking.awake.append(self)

    def pass_cancel_on(self) -> None:
        """Cancel by a request from before, or by a method bound then: ``call_later(1, cancel)``."""
        if self.task is not None and self.task._must_cancel and not self.was_cancelled:
            # The request stands, so the task meets it once more at its next await.
            self.was_cancelled = True
            self.future.cancel(msg=self.task._cancel_message)

    def cancel(self, msg: Any = None) -> bool:
        return self.future.cancel(msg=msg) or self.cancel_task(msg=msg)


class _Parking:
    """The parked calls of one loop; it lasts until a turn of home in which none is parked."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.thread = threading.get_ident()
        self.callers: list[_Caller] = []  # oldest first
        self.awake: deque[_Caller] = deque()  # those whose future is done
        self.contexts: Any = None  # a task's copy of its context, where it was in use
        self.lender: Any = None  # home's greenlet, while it is lent
        self.lending: Any = None  # the handle that will lend home, while it is queued
        self.spare: Any = None  # a runner that waits for its next turn
        self.ending: Any = None  # the handle that will end the spare one, while it is queued
        self.spawner, self.spawned = None, None  # a stack that starts runners; the next of them
        self.moving: Any = None  # the stack that is meant to move

    def park(self, future: asyncio.Future[Any], owed: int | None) -> None:
        caller = _Caller(self, future, at_home=owed is not None)
        if owed is not None and self.lending is not None:
            self.lending.cancel()
        caller.leave()
        self.callers.append(caller)
        try:
            self._let_a_runner_move(from_home=owed is not None)
        finally:
            self.callers.remove(caller)
            if caller in self.awake:
                self.awake.remove(caller)
            caller.enter()
            if owed is not None:
                self._go_on_at_home(owed)

    def _lend(self) -> None:
        self.lending = None
        owed = _owed(calling_frame(self.loop)) or 0
        self.lender = greenlet.getcurrent()
        try:
            self._let_a_runner_move(from_home=True)
        finally:
            self.lender = None
            self._go_on_at_home(owed)

    def _go_on_at_home(self, owed: int) -> None:
        """Prepare the queue and the rest for home, which moves again from here on."""
        ready = self.loop._ready
        if self.callers:  # so home takes what it is owed, all of it nothing, and is lent again
            self.lending = self._handle(self._lend)
            ready.appendleft(self.lending)
            ready.extendleft([self._handle(bool)] * owed)
            return
        if owed > len(ready):
            ready.extend([self._handle(bool)] * (owed - len(ready)))
        if self.loop._stopping:  # there may be no further turn
            self.end()
        elif self.ending is None:
            # Not at once: code that waits for one call after the other, as a cell does, would
            # pay for a new stack each time, which is as much as all the rest.
            self.ending = self._handle(self.end)
            ready.append(self.ending)

    def end(self) -> None:
        """End the idle stacks, unless somebody is parked again by now."""
        self.ending = None
        if self.callers or self.lender is not None:
            return
        if self.thread == threading.get_ident():
            for idle in (self.spare, self.spawner):
                if idle is not None:
                    self.moving, idle.parent = idle, greenlet.getcurrent()
                    idle.throw()
        # Only their own thread can end them: if the loop was stopped there before this turn came,
        # they stay until that thread ends.
        self.spare = self.spawner = self.moving = None
        if _parkings.get(self.loop) is self:
            del _parkings[self.loop]

    def _handle(self, callback: Any) -> Any:
        return events.Handle(callback, (), self.loop, Context())

    def _let_a_runner_move(self, *, from_home: bool) -> None:
        runner, self.spare = self.spare, None
        if runner is None:
            runner = greenlet.greenlet(self._run, _root())
            if not from_home:
                # A greenlet inherits the recursion depth of the one that starts it: 300 calls, each
                # parked on top of the last, would reach the limit. One that stays shallow helps.
                self.spawned, runner = runner, self.spawner
                if runner is None:
                    runner = self.spawner = greenlet.greenlet(self._spawn, _root())
        self._switch(runner)

    def _spawn(self) -> None:
        while True:
            self._switch(self.spawned)

    def _switch(self, stack: Any) -> None:
        """Let another stack move until this one is meant to.

        A greenlet of other code (SQLAlchemy's) returns to the stack that started it, though its
        task may be stepped on another by now. What it brings is for the one that moves.
        """
        self.moving = stack
        me, pass_on, brought = greenlet.getcurrent(), stack.switch, ()
        while True:
            try:
                brought = (pass_on(*brought),)
            except greenlet.GreenletExit:
                raise
            except BaseException as exc:
                if self.moving is me or self.moving.dead:
                    raise
                pass_on, brought = self.moving.throw, (exc,)
            else:
                if self.moving is me:
                    return
                pass_on = self.moving.switch

    def _run(self) -> None:
        """Be a runner: move until a parked stack or home has to go on instead."""
        me = greenlet.getcurrent()
        while True:
            try:
                stack = self._step()
            except BaseException:  # KeyboardInterrupt, SystemExit, or what the selector raised
                self.moving = me.parent = self.callers[0].stack if self.callers else self.lender
                raise
            if self.spare is not None:
                self.moving = me.parent = stack  # it goes on when this greenlet ends
                return
            self.spare = me
            self._switch(stack)

    def _step(self) -> Any:
        """Turn the loop until another stack has to move, and say which."""
        turned = False
        while not self.awake:
            unwinding = self.loop._stopping and self._unwind()
            if self.lender is not None and not unwinding and (turned or not self.callers):
                return self.lender
            if turned:  # else whoever called the handle that parked, or lends, has just done so
                self._poll()
            self._call_ready()
            for caller in self.callers:
                caller.pass_cancel_on()
            turned = True
        return self.awake[0].stack

    def _unwind(self) -> bool:
        """Cancel, once, what the callers wait for that end with the run; say if there are any."""
        ending = [caller for caller in self.callers if caller.ends_with_run]
        for caller in ending:
            if not caller.was_told:
                caller.was_told = True
                caller.future.cancel(msg="the event loop was stopped while a call was waiting")
        return bool(ending)

    def _poll(self) -> None:
        """Queue what is due or has arrived; wait for it where the queue is empty."""
        loop = self.loop
        timers = loop._scheduled
        if loop._timer_cancelled_count > max(_SOME_TIMERS, len(timers) // 2):
            # As asyncio does: those deep in the heap would stay there while a long call waits.
            for timer in timers:
                timer._scheduled = not timer._cancelled
            timers[:] = [timer for timer in timers if timer._scheduled]
            heapq.heapify(timers)
            loop._timer_cancelled_count = 0
        wait_s = max(0, timers[0]._when - loop.time()) if timers else MAXIMUM_SELECT_TIMEOUT
        wait_s = 0 if loop._ready else min(wait_s, MAXIMUM_SELECT_TIMEOUT)
        loop._process_events(loop._selector.select(wait_s))
        due = loop.time() + loop._clock_resolution
        while timers and (timers[0]._cancelled or timers[0]._when < due):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if timer._cancelled:
                loop._timer_cancelled_count -= 1
            else:
                loop._ready.append(timer)

    def _call_ready(self) -> None:
        """Call what is ready now, up to the first handle that wakes a caller."""
        ready, awake = self.loop._ready, self.awake
        for _ in range(len(ready)):
            if not ready or awake:  # a handle parked meanwhile, others emptied the queue
                return
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if self.contexts is not None or _is_entered(handle._context):
                handle._context = self._usable_context(handle)
            handle._run()

    def _usable_context(self, handle: Any) -> Context:
        """Find a context for a handle; a parked stack may be in its own.

        ipykernel from 7.1 on gives all messages the same one, and a context can be entered once at
        a time. A task keeps its copy, so that its variables last from one step to the next.
        """
        task: Any = getattr(handle._callback, "__self__", None)
        self.contexts = WeakKeyDictionary() if self.contexts is None else self.contexts
        kept: Any = self.contexts if isinstance(task, asyncio.Task) else {}
        context = kept.get(task, handle._context)
        if _is_entered(context):
            context = kept[task] = context.copy()
        return context


_CALL_READY = _Parking._call_ready.__code__
_RUN = _Parking._run.__code__


def calling_frame(loop: Any) -> FrameType | None:
    """Find the frame on this very stack in which the loop's handles are called."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "_run_once" and frame.f_locals.get("self") is loop:
            return frame
        if frame.f_code is _CALL_READY and frame.f_locals["self"].loop is loop:
            return frame
        frame = frame.f_back
    return None


def _owed(frame: FrameType | None) -> int | None:
    """Count what home's ``_run_once``, that looked once, still takes; None for a runner's frame."""
    if frame is None or frame.f_code is _CALL_READY:
        return None
    if frame.f_code is not _RUN_ONCE:
        return 0  # nest_asyncio's, which looks before it takes
    return frame.f_locals["ntodo"] - frame.f_locals["i"] - 1


def _root() -> Any:
    """Find the thread's first greenlet: as a parent it can never close a circle."""
    stack = greenlet.getcurrent()
    while stack.parent is not None:
        stack = stack.parent
    return stack


def _is_entered(context: Context) -> bool:
    try:
        return context.run(bool)
    except RuntimeError:
        return True
