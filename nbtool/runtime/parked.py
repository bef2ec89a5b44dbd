# pyright: reportPrivateUsage=false, reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# ruff: noqa: SLF001 - stepping a loop that is running is only possible through asyncio's private names; `why_not` tests them
"""Let synchronous code wait on the event loop that runs below it, while that loop goes on.

The caller's whole stack, with the loop's own frames at its bottom, is *parked* in its greenlet.
Another greenlet, a *runner*, then does what the loop would do: poll, fire timers, call what is
ready. When the future is done the runner switches back to the parked stack, in whatever order the
futures finish. No class of asyncio is touched, so a Task stays the C Task.

Words used here:

- *home*: the stack that carries the loop's own ``run_forever``. It is either parked, because a
  synchronous call was made on top of it, or *lent*: it stands still in a handle of ours for one
  turn of a runner. While anybody is parked home never calls a handle itself, as only a runner
  passes cancellation on and knows which contexts are in use.
- *runner*: at any time exactly one greenlet moves, home or one runner. A handle that parks keeps
  its runner's stack, and another runner takes over.
- *spawner*: starts runners from a shallow stack, because a new greenlet inherits the recursion
  depth of the one that starts it: 300 calls, each parked on top of the last, would reach the limit.
"""

from __future__ import annotations

import asyncio
import heapq
import sys
import threading
from asyncio import events, tasks
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

_OWN_RUN_ONCE = asyncio.BaseEventLoop._run_once.__code__
_STEPPED_NAMES = ("_ready", "_scheduled", "_selector", "_process_events", "_stopping")
_TURNING_NAMES = ("_run_once", "run_forever", "call_soon", "call_at", "_process_events")
_LONGEST_POLL_S = 24 * 3600.0
_SELF_TEST_LIMIT_S = 5.0
# Below this many, cancelled timers are left to come up by themselves, as asyncio does.
_TOLERATED_CANCELLED_TIMERS = 100
# From 3.13 on `uncancel()` takes an undelivered CancelledError back. Before, a task that goes on
# after it was cancelled while parked gets a second one at its next await.
_UNCANCEL_TAKES_BACK = sys.version_info >= (3, 13)

_parkings: dict[asyncio.AbstractEventLoop, _Parking] = {}
_verdicts: dict[type, str] = {}


def supported(loop: asyncio.AbstractEventLoop) -> bool:
    """Say whether `park_until` works on this loop.

    Args:
        loop: Any event loop, running or not; it is not touched.
    """
    return not why_not(loop)


def why_not(loop: asyncio.AbstractEventLoop) -> str:
    """Give the reason why `park_until` does not work on this loop.

    The first question for a class of loops runs a rehearsal on a new loop, in a thread of its own
    so that the running loop is left alone (some milliseconds); the verdict is kept.

    Args:
        loop: Any event loop, running or not; it is not touched.

    Returns:
        The reason in words; empty where it works.
    """
    kind = type(loop)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if greenlet is None:
        return "the package greenlet is not installed"
    if not isinstance(loop, asyncio.BaseEventLoop):
        return f"{name} is not built on asyncio.BaseEventLoop"
    missing = [each for each in _STEPPED_NAMES if not hasattr(loop, each)]
    if missing:
        return f"{name} has no {', '.join(missing)}"
    foreign = [each for each in _TURNING_NAMES if not _is_asyncio(_definer(kind, each))]
    if foreign:
        return f"{name} has its own {', '.join(foreign)}"
    tested = next(each for each in kind.__mro__ if _is_asyncio(each))
    if tested not in _verdicts:
        _verdicts[tested] = _self_test(tested)
    return _verdicts[tested]


def park_until(loop: asyncio.AbstractEventLoop, future: asyncio.Future[Any]) -> None:
    """Block the calling synchronous code until a future is done, while the loop goes on.

    Cancelling the task that is parked cancels `future`. KeyboardInterrupt and SystemExit that a
    handle raises meanwhile come out of the oldest parked call. When the loop is stopped, what the
    calls that cannot outlive this run wait for is cancelled: the one on top of ``run_forever``
    and those made by plain callbacks.

    Args:
        loop: The loop that runs in this thread, below the caller; see `supported`.
        future: Future or task of that loop; its result or exception is left in it.

    Raises:
        LoopError: `loop` is not the loop that runs in this thread.
    """
    running = events._get_running_loop()
    if running is not loop:
        raise LoopError(
            f"Cannot wait inside {loop!r}: the loop that runs in this thread is {running!r}.",
            hint="Call it from a task or callback of that loop, or use `await`.",
        )
    if future.done():
        return
    parking = _parkings.get(loop)
    if parking is None:
        parking = _parkings[loop] = _Parking(loop)
    parking.park(future)


def parked_count(loop: asyncio.AbstractEventLoop) -> int:
    """Count the calls that are parked on a loop at this moment.

    Args:
        loop: Any event loop.
    """
    parking = _parkings.get(loop)
    return len(parking.callers) if parking else 0


class _Caller:
    """One parked call."""

    __slots__ = (
        "bound",
        "cancels",
        "cancels_before",
        "future",
        "parking",
        "stack",
        "task",
        "unwinding",
    )

    def __init__(self, parking: _Parking, future: asyncio.Future[Any], *, at_home: bool) -> None:
        self.parking = parking
        self.future = future
        self.stack = greenlet.getcurrent()
        self.task = asyncio.current_task(parking.loop)
        self.cancels_before = self.cancels = self.task.cancelling() if self.task else 0
        # Home has to unwind before run_forever can return, and nobody can cancel a callback.
        self.bound = at_home or self.task is None
        self.unwinding = False

    def wake(self, _: asyncio.Future[Any]) -> None:
        self.parking.awake.append(self)

    def pass_cancellation_on(self) -> None:
        task = self.task
        if task is None or task.cancelling() <= self.cancels:
            return
        self.cancels = task.cancelling()
        taken = self.future.cancel(msg=task._cancel_message)
        if taken and _UNCANCEL_TAKES_BACK and not self.cancels_before:
            # The task takes it for undelivered, as it seems to run; once is enough.
            while task.uncancel():
                pass
            self.cancels = 0


class _Parking:
    """The parked calls of one loop; exists while there are any or home is lent."""

    __slots__ = ("awake", "callers", "contexts", "lender", "lending", "loop", "spare", "spawner")

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.callers: list[_Caller] = []  # oldest first
        self.awake: deque[_Caller] = deque()  # callers whose future is done
        self.contexts: WeakKeyDictionary[asyncio.Task[Any], Context] = WeakKeyDictionary()
        self.lender: Any = None  # home's greenlet while it is lent
        self.lending: Any = None  # the handle in which home will be lent, while it is queued
        self.spare: Any = None  # a runner that stands still between two turns
        self.spawner: Any = None

    # -- home and callers -------------------------------------------------------------------

    def park(self, future: asyncio.Future[Any]) -> None:
        """Park the current stack; return, or raise, when it goes on."""
        owed = self._owed_at_home()
        caller = _Caller(self, future, at_home=owed is not None)
        if owed is not None and self.lending is not None:
            self.lending.cancel()
        future.add_done_callback(caller.wake)
        if caller.task is not None:
            tasks._leave_task(self.loop, caller.task)
        self.callers.append(caller)
        try:
            self._let_a_runner_move(from_home=owed is not None)
        finally:
            self.callers.remove(caller)
            if caller in self.awake:
                self.awake.remove(caller)
            else:  # an exception came instead
                future.remove_done_callback(caller.wake)
            if caller.task is not None:
                tasks._enter_task(self.loop, caller.task)
            if owed is not None:
                self._go_on_at_home(owed)

    def _lend(self) -> None:
        """Stand still in a handle that home calls, for one turn of a runner."""
        self.lending = None
        owed = self._owed_at_home() or 0
        self.lender = greenlet.getcurrent()
        try:
            self._let_a_runner_move(from_home=True)
        finally:
            self.lender = None
            self._go_on_at_home(owed)

    def _owed_at_home(self) -> int | None:
        """Count the handles that home's suspended ``_run_once`` will still take, come what may.

        It counts the queue once and then takes as many, while runners empty the queue meanwhile.

        Returns:
            None where the current stack is a runner's.
        """
        stack = greenlet.getcurrent()
        frame: FrameType | None = sys._getframe(1)
        while True:
            while frame is not None:
                if frame.f_code is _OWN_RUN_ONCE and frame.f_locals["self"] is self.loop:
                    return frame.f_locals["ntodo"] - frame.f_locals["i"] - 1
                if frame.f_code is _RUNNER and frame.f_locals["self"] is self:
                    return None
                frame = frame.f_back
            # Others use greenlets too: SQLAlchemy calls synchronous code in a child of home.
            stack = stack.parent
            if stack is None:
                return 0  # a patched loop (nest_asyncio) that looks before it takes
            frame = stack.gr_frame

    def _go_on_at_home(self, owed: int) -> None:
        """Prepare the queue for home, which moves again from here on."""
        ready = self.loop._ready
        nothing = events.Handle(_nothing, (), self.loop, Context())
        nothing.cancel()
        if self.callers:
            # Home takes what it is owed, all of it nothing, and then lends itself again.
            self.lending = events.Handle(self._lend, (), self.loop, Context())
            ready.appendleft(self.lending)
            ready.extendleft([nothing] * owed)
            return
        ready.extend([nothing] * (owed - len(ready)))
        for idle in (self.spare, self.spawner):
            if idle is not None:
                idle.parent = greenlet.getcurrent()
                idle.throw()
        del _parkings[self.loop]

    def _let_a_runner_move(self, *, from_home: bool) -> None:
        runner, self.spare = self.spare, None
        if runner is not None:
            runner.switch()
        elif from_home:
            greenlet.greenlet(self._run, _root()).switch()
        else:
            if self.spawner is None:
                self.spawner = greenlet.greenlet(_start_each, _root())
            self.spawner.switch(greenlet.greenlet(self._run, _root()))

    # -- runners ----------------------------------------------------------------------------

    def _run(self) -> None:
        """Be a runner: move the loop until a parked stack or home has to go on instead."""
        me = greenlet.getcurrent()
        while True:
            try:
                stack = self._step_until_other_moves()
            except BaseException:
                # KeyboardInterrupt and SystemExit of a handle, and what the selector raises.
                me.parent = self.callers[0].stack if self.callers else self.lender
                raise
            others = len(self.callers) - (stack is not self.lender)
            if self.spare is not None or not others:
                me.parent = stack  # which goes on when this greenlet ends
                return
            self.spare = me
            stack.switch()

    def _step_until_other_moves(self) -> Any:
        turned = False
        while not self.awake:
            unwinding = self.loop._stopping and self._unwind_bound()
            if self.lender is not None and not unwinding and (turned or not self.callers):
                return self.lender
            for caller in self.callers:
                caller.pass_cancellation_on()
            self._poll()
            self._call_ready()
            turned = True
        return self.awake[0].stack

    def _unwind_bound(self) -> bool:
        """Cancel what the bound callers wait for; say whether there are any."""
        bound = [caller for caller in self.callers if caller.bound]
        for caller in bound:
            if not caller.unwinding:
                caller.unwinding = True
                caller.future.cancel(msg="the event loop was stopped while a call was waiting")
        return bool(bound)

    def _poll(self) -> None:
        """Wait for the next event or timer and queue what is due."""
        loop = self.loop
        if loop._timer_cancelled_count > _TOLERATED_CANCELLED_TIMERS:
            self._drop_cancelled_timers()
        timers = loop._scheduled
        timeout_s = None
        if loop._ready:
            timeout_s = 0
        elif timers:
            timeout_s = min(max(0.0, timers[0]._when - loop.time()), _LONGEST_POLL_S)
        loop._process_events(loop._selector.select(timeout_s))
        due_s = loop.time() + loop._clock_resolution
        while timers and (timers[0]._cancelled or timers[0]._when < due_s):
            timer = heapq.heappop(timers)
            timer._scheduled = False
            if timer._cancelled:
                loop._timer_cancelled_count -= 1
            else:
                loop._ready.append(timer)

    def _drop_cancelled_timers(self) -> None:
        """Forget cancelled timers where they are the most, as a long call outlives many."""
        timers: list[Any] = self.loop._scheduled
        if 2 * self.loop._timer_cancelled_count <= len(timers):
            return
        for timer in timers:
            timer._scheduled = not timer._cancelled
        timers[:] = [timer for timer in timers if timer._scheduled]
        heapq.heapify(timers)
        self.loop._timer_cancelled_count = 0

    def _call_ready(self) -> None:
        """Call what is ready now, up to the first handle that wakes a caller."""
        ready = self.loop._ready
        for _ in range(len(ready)):
            if not ready or self.awake:  # a handle may have parked, and others emptied the queue
                break
            handle = ready.popleft()
            if handle._cancelled:
                continue
            if self.contexts or _is_entered(handle._context):
                handle._context = self._usable_context(handle)
            handle._run()

    def _usable_context(self, handle: Any) -> Context:
        """Find a context in which a handle can run though a parked stack may be in its own.

        A context can be entered once at a time, and ipykernel 7.1 and later gives all messages the
        same one. A task keeps its copy, so that its variables last from one step to the next.
        """
        task = getattr(handle._callback, "__self__", None)
        if not isinstance(task, asyncio.Task):
            return handle._context.copy() if _is_entered(handle._context) else handle._context
        context = self.contexts.get(task)
        if context is None:
            context = handle._context
            if _is_entered(context):
                context = self.contexts[task] = context.copy()
        return context


_RUNNER = _Parking._run.__code__


def _start_each(runner: Any) -> None:
    while True:
        runner = runner.switch()


def _root() -> Any:
    """Find the thread's first greenlet: the only parent that can never make a circle."""
    stack = greenlet.getcurrent()
    while stack.parent is not None:
        stack = stack.parent
    return stack


def _nothing() -> None: ...


def _is_entered(context: Context) -> bool:
    try:
        context.run(_nothing)
    except RuntimeError:
        return True
    return False


def _definer(kind: type, name: str) -> type:
    return next(each for each in kind.__mro__ if name in vars(each))


def _is_asyncio(kind: type) -> bool:
    return kind.__module__.split(".")[0] == "asyncio"


def _self_test(kind: type[asyncio.BaseEventLoop]) -> str:
    found = [f"its self-test did not end within {_SELF_TEST_LIMIT_S} s"]

    def rehearse() -> None:
        try:
            loop = kind()
            try:
                loop.run_until_complete(_rehearsal(loop))
            finally:
                loop.close()
        except Exception as exc:  # noqa: BLE001 - whatever a changed asyncio raises is the reason
            found[0] = f"its self-test on {kind.__qualname__} failed: {exc!r}"
        else:
            found[0] = ""

    thread = threading.Thread(target=rehearse, name="nbtool-self-test", daemon=True)
    thread.start()
    thread.join(_SELF_TEST_LIMIT_S)
    return found[0]


async def _rehearsal(loop: asyncio.AbstractEventLoop) -> None:
    """Park two tasks, the first to park to go on last, with handles queued behind each."""
    order: list[str] = []
    late = loop.create_future()

    async def first() -> None:
        park_until(loop, late)
        order.append("first")

    async def second() -> None:
        done = loop.create_future()
        loop.call_later(0.001, done.set_result, None)
        park_until(loop, done)
        order.append("second")
        await asyncio.sleep(0.001)
        late.set_result(None)

    me = asyncio.current_task()
    await asyncio.wait_for(asyncio.gather(first(), second(), asyncio.sleep(0)), timeout=1)
    if order != ["second", "first"] or asyncio.current_task() is not me:
        raise RuntimeError(f"calls went on in the wrong order: {order!r}")
