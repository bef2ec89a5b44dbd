import asyncio
import contextvars
import gc
import threading

import pytest

from nbtool.tracing import boundary
from nbtool.tracing.boundary import current_span, install, traced, traced_inline, uninstall
from nbtool.tracing.recorder import Recorder


class Log:
    """An instrument that keeps the spans it is shown."""

    def __init__(self):
        self.opened_spans = []
        self.closed_spans = []

    def opened(self, span):
        self.opened_spans.append(span)

    def closed(self, span):
        self.closed_spans.append(span)

    @property
    def parents(self):
        return {s.name: s.parent.name if s.parent else None for s in self.opened_spans}

    @property
    def closed_names(self):
        return [span.name for span in self.closed_spans]


class Broken(Log):
    """An instrument that fails in one of its methods."""

    def __init__(self, method, error):
        super().__init__()
        self._method = method
        self._error = error

    def opened(self, span):
        super().opened(span)
        self._fail("opened")

    def closed(self, span):
        super().closed(span)
        self._fail("closed")

    def _fail(self, method):
        if method == self._method:
            raise self._error


class Deep(Log):
    """An instrument that needs a good piece of the stack."""

    def opened(self, span):
        self._dive(30)
        super().opened(span)

    def _dive(self, depth):
        if depth:
            self._dive(depth - 1)


@pytest.fixture
def log():
    return Log()


@pytest.fixture
def nobody_else():
    before = boundary._process_wide
    boundary._process_wide = ()
    yield
    boundary._process_wide = before


def step(name, fn, **inputs):
    return traced("function", name, fn, inputs)


async def leaf(x=None):
    await asyncio.sleep(0)
    return x


async def seen():
    return current_span()


def run_to_first_wait(coroutine):
    return contextvars.copy_context().run(coroutine.send, None)


async def test_step_returns_what_its_function_returns(log):
    with boundary.watching(log):
        assert await step("a", leaf, x=5) == 5

    span = log.closed_spans[0]
    assert (span.name, span.inputs, span.output, span.error) == ("a", {"x": 5}, 5, None)
    assert span.end_s >= span.start_s


async def test_steps_under_gather_have_the_gathering_step_as_parent(log):
    async def branch(to):
        return await step(to, leaf)

    async def root():
        await asyncio.gather(step("a", branch, to="a.leaf"), step("b", branch, to="b.leaf"))

    with boundary.watching(log):
        await step("root", root)

    assert log.parents == {
        "root": None, "a": "root", "b": "root", "a.leaf": "a", "b.leaf": "b",
    }  # fmt: skip


async def test_steps_under_a_task_group_have_the_grouping_step_as_parent(log):
    async def root():
        async with asyncio.TaskGroup() as group:
            group.create_task(step("a", leaf))
            group.create_task(step("b", leaf))

    with boundary.watching(log):
        await step("root", root)

    assert log.parents == {"root": None, "a": "root", "b": "root"}
    assert log.closed_names[-1] == "root"


async def test_steps_after_each_other_are_siblings(log):
    async def root():
        await step("a", leaf)
        await step("b", leaf)

    with boundary.watching(log):
        await step("root", root)

    assert log.parents == {"root": None, "a": "root", "b": "root"}


async def test_error_passes_through_every_step_as_it_is(log):
    error = ValueError("no")

    async def fail():
        raise error

    async def root():
        await step("inner", fail)

    with boundary.watching(log), pytest.raises(ValueError, match="no") as caught:
        await step("root", root)

    assert caught.value is error
    assert [span.error for span in log.closed_spans] == [error, error]


async def test_cancelled_step_is_closed_with_the_cancellation(log):
    with boundary.watching(log):
        task = asyncio.create_task(step("a", asyncio.Event().wait))
    await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task

    assert isinstance(log.closed_spans[0].error, asyncio.CancelledError)


async def test_sibling_of_a_failing_step_in_a_task_group_is_closed_as_cancelled():
    async def fail():
        raise ValueError

    async def root():
        async with asyncio.TaskGroup() as group:
            group.create_task(step("waits", asyncio.Event().wait))
            group.create_task(step("fails", fail))

    recorder = Recorder()
    with boundary.watching(recorder), pytest.raises(ExceptionGroup):
        await step("root", root)

    found = {record.name: record.status for record in recorder.records()}
    assert found == {"root": "error", "waits": "cancelled", "fails": "error"}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(2)], ids=repr)
def test_interrupted_step_is_closed_with_the_interrupt(log, error):
    def fail():
        raise error

    with boundary.watching(log), pytest.raises(type(error)):
        traced_inline("function", "a", fail, {})

    assert log.closed_spans[0].error is error
    assert current_span() is None


@pytest.mark.parametrize("method", ["opened", "closed"])
async def test_failing_watcher_of_a_call_is_logged_and_dropped(method, log, caplog):
    broken = Broken(method, RuntimeError("watcher broke"))

    async def root():
        return await step("inner", leaf, x=1)

    with boundary.watching(broken), boundary.watching(log):
        assert await step("root", root) == 1

    assert len(broken.opened_spans) + len(broken.closed_spans) == (1 if method == "opened" else 3)
    assert log.closed_names == ["inner", "root"]
    assert "Broken" in caplog.text
    assert "watcher broke" in caplog.text


@pytest.mark.parametrize("method", ["opened", "closed"])
async def test_failing_process_wide_watcher_is_dropped_for_good(method):
    broken = Broken(method, RuntimeError())
    install(broken)

    await step("first", leaf)
    await step("second", leaf)

    assert [span.name for span in broken.opened_spans] == ["first"]


async def test_watcher_interrupted_by_ctrl_c_leaves_no_open_step_behind():
    broken = Broken("opened", KeyboardInterrupt())

    with boundary.watching(broken), pytest.raises(KeyboardInterrupt):
        traced_inline("function", "a", dict, {})

    assert current_span() is None


def test_program_that_recurses_without_end_costs_no_watcher():
    deep = Deep()

    def endless():
        return traced_inline("function", "again", endless, {})

    install(deep)
    with pytest.raises(RecursionError):
        endless()
    traced_inline("function", "after", dict, {})
    uninstall(deep)

    assert deep.closed_names[-1] == "after"


async def test_current_span_is_restored_after_a_step_that_failed():
    async def fail():
        raise ValueError

    async def root():
        with pytest.raises(ValueError, match=r"^$"):
            await step("inner", fail)
        return current_span().name

    assert await step("root", root) == "root"
    assert current_span() is None


def test_step_closed_in_another_context_is_cancelled_and_touches_nothing(log):
    with boundary.watching(log):
        coroutine = step("a", leaf)
        run_to_first_wait(coroutine)

    coroutine.close()

    assert isinstance(log.closed_spans[0].error, GeneratorExit)
    assert current_span() is None


def test_step_collected_as_garbage_is_closed_without_a_complaint(log):
    with boundary.watching(log):
        coroutine = step("a", leaf)
        run_to_first_wait(coroutine)

    del coroutine
    gc.collect()

    assert log.closed_names == ["a"]


async def test_no_span_is_opened_when_nobody_watches(nobody_else):
    assert await step("a", seen) is None


async def test_step_of_an_object_has_a_span_even_when_nobody_watches(nobody_else):
    subject = object()

    span = await traced("function", "a", seen, {}, subject=subject)

    assert (span.subject, current_span()) == (subject, None)


def test_inline_step_of_an_object_has_it_as_its_subject():
    subject = object()

    span = traced_inline("function", "a", current_span, {}, subject=subject)

    assert span.subject is subject


async def test_ancestors_of_a_step_are_the_steps_around_it_nearest_first(log):
    async def outer():
        return await step("inner", seen)

    with boundary.watching(log):
        span = await step("outer", outer)

    assert [above.name for above in span.ancestors()] == ["outer"]


async def test_step_in_a_thread_of_the_call_belongs_to_the_call(log):
    async def root():
        await asyncio.to_thread(traced_inline, "function", "inner", dict, {})

    with boundary.watching(log):
        await step("root", root)

    assert log.parents == {"root": None, "inner": "root"}


def test_step_in_a_plain_thread_starts_a_call_of_its_own(log):
    def in_thread():
        with boundary.watching(log):
            traced_inline("function", "other", dict, {})

    def root():
        thread = threading.Thread(target=in_thread)
        thread.start()
        thread.join()

    traced_inline("function", "root", root, {})

    assert log.parents == {"other": None}


async def test_watcher_sees_no_call_that_started_before_it(log):
    go = asyncio.Event()

    async def root():
        await go.wait()
        await step("late", leaf)

    early = asyncio.create_task(step("early", root))
    await asyncio.sleep(0)
    with boundary.watching(log):
        go.set()
        await early
        await step("mine", leaf)

    assert list(log.parents) == ["mine"]


async def test_watcher_sees_a_call_to_its_end_after_the_block(log):
    go = asyncio.Event()

    async def root():
        await go.wait()
        await step("late", leaf)

    with boundary.watching(log):
        task = asyncio.create_task(step("root", root))
        await asyncio.sleep(0)
    go.set()
    await task

    assert log.closed_names == ["late", "root"]


async def test_watcher_sees_no_call_that_starts_after_its_block(log):
    with boundary.watching(log):
        pass

    await step("a", leaf)

    assert log.opened_spans == []


async def test_sibling_task_of_the_block_is_not_watched(log):
    entered, done = asyncio.Event(), asyncio.Event()

    async def watch():
        with boundary.watching(log):
            entered.set()
            await done.wait()

    task = asyncio.create_task(watch())
    await entered.wait()
    await step("sibling", leaf)
    done.set()
    await task

    assert log.opened_spans == []


def test_watching_closed_in_another_context_does_not_complain(log):
    watching = boundary.watching(log)
    contextvars.copy_context().run(watching.__enter__)

    watching.__exit__(None, None, None)
    traced_inline("function", "a", dict, {})

    assert log.opened_spans == []


def test_installed_watcher_sees_every_call_until_it_is_uninstalled(log):
    install(log)
    install(log)
    traced_inline("function", "seen", dict, {})
    uninstall(log)
    uninstall(log)
    traced_inline("function", "unseen", dict, {})

    assert list(log.parents) == log.closed_names == ["seen"]


async def test_inline_step_runs_on_the_thread_of_its_caller_under_its_step(log):
    async def root():
        return traced_inline("function", "inner", threading.get_ident, {})

    with boundary.watching(log):
        assert await step("root", root) == threading.get_ident()

    assert log.parents == {"root": None, "inner": "root"}


def test_inline_step_raises_what_its_function_raises(log):
    def fail(number):
        return 1 / number

    with boundary.watching(log), pytest.raises(ZeroDivisionError):
        traced_inline("function", "a", fail, {"number": 0})

    assert isinstance(log.closed_spans[0].error, ZeroDivisionError)


async def test_annotations_add_up():
    async def body():
        current_span().annotate(model="m", retries=1)
        current_span().annotate(retries=2)
        return current_span()

    span = await step("a", body)

    assert span.attributes == {"model": "m", "retries": 2}


async def test_repr_of_a_span_tells_whether_it_runs():
    async def body():
        return current_span(), repr(current_span())

    span, while_running = await step("a", body)

    assert while_running == f"<Span {span.id} function 'a' running>"
    assert repr(span).endswith(" s>")
