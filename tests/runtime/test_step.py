import asyncio
import threading

import pytest

from nbtool.runtime.door import run
from nbtool.runtime.step import Step
from nbtool.tools.tool import Tool
from nbtool.tracing.decorator import traced
from nbtool.views.watching import trace


class Told(Step):
    """Remember which method ran, in which thread."""

    def note(self, method):
        self.ran = (method, threading.get_ident())


class OnlyForward(Told):
    def forward(self, x, factor=2):
        self.note("forward")
        return factor * x


class OnlyAforward(Told):
    async def aforward(self, x, factor=2):
        await asyncio.sleep(0)
        self.note("aforward")
        return factor * x


class Both(OnlyForward, OnlyAforward):
    pass


class Neither(Step):
    pass


def on_instance():
    step = Told()
    step.forward = lambda x, factor=2: OnlyForward.forward(step, x, factor)
    return step


def called_below_a_loop(step, x):
    async def main():
        return step(x)

    return asyncio.run(main())


CALLS = {
    "call": lambda step, x: step(x),
    "call_below_a_loop": called_below_a_loop,
    "acall": lambda step, x: asyncio.run(step.acall(x)),
}

# Which method runs, and whether in the caller's thread (None: the loop's, wherever that is).
TABLE = [
    (OnlyForward, "call", "forward", True),
    (OnlyForward, "call_below_a_loop", "forward", True),
    (OnlyForward, "acall", "forward", False),
    (OnlyAforward, "call", "aforward", True),
    (OnlyAforward, "call_below_a_loop", "aforward", None),
    (OnlyAforward, "acall", "aforward", True),
    (Both, "call", "forward", True),
    (Both, "call_below_a_loop", "forward", True),
    (Both, "acall", "aforward", True),
    (on_instance, "call", "forward", True),
    (on_instance, "call_below_a_loop", "forward", True),
    (on_instance, "acall", "forward", False),
]


@pytest.mark.parametrize(
    ("make", "how", "method", "is_here"),
    TABLE,
    ids=[f"{make.__name__}-{how}" for make, how, *_ in TABLE],
)
def test_each_kind_of_step_can_be_called_both_ways(make, how, method, is_here):
    step = make()

    assert CALLS[how](step, 4) == 8

    assert step.ran[0] == method
    assert is_here in {None, step.ran[1] == threading.get_ident()}


@pytest.mark.parametrize("how", CALLS.values(), ids=CALLS)
def test_a_step_with_neither_method_says_what_to_define(how):
    with pytest.raises(NotImplementedError, match=r"Neither has neither(?s:.)*aforward"):
        how(Neither(), 1)


class Outer(Step):
    def __init__(self, inner):
        self.inner = inner

    def forward(self, x):
        self.thread = threading.get_ident()
        return self.inner(x)


@pytest.mark.parametrize("how", ["call", "call_below_a_loop"])
def test_nested_synchronous_steps_stay_in_the_callers_thread(how):
    inner = OnlyForward()
    outer = Outer(Outer(inner))

    assert CALLS[how](outer, 4) == 8

    assert {outer.thread, outer.inner.thread, inner.ran[1]} == {threading.get_ident()}


def test_below_acall_nested_synchronous_steps_share_one_worker_thread():
    inner = OnlyForward()
    outer = Outer(Outer(inner))

    asyncio.run(outer.acall(4))

    threads = {outer.thread, outer.inner.thread, inner.ran[1]}
    assert len(threads) == 1
    assert threading.get_ident() not in threads


def test_an_asynchronous_step_called_in_a_worker_runs_on_the_chains_loop():
    inner = OnlyAforward()

    asyncio.run(Outer(inner).acall(4))

    assert inner.ran[1] == threading.get_ident()


# -- arguments -----------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [OnlyForward, OnlyAforward, Both])
@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((4,), {}), ((), {"x": 4}), ((4, 3), {}), ((4,), {"factor": 3})],
    ids=["positional", "named", "two_positional", "mixed"],
)
def test_arguments_are_named_in_the_trace(make, how, args, kwargs):
    factor = {"factor": 3} if 3 in (*args, *kwargs.values()) else {}
    step = make()

    with trace() as seen:
        result = {
            "call": lambda: step(*args, **kwargs),
            "acall": lambda: run(step.acall(*args, **kwargs)),
        }[how]()

    assert result == 4 * factor.get("factor", 2)
    assert seen.spans[0].inputs == {"x": 4, **factor}


class Variadic(Step):
    async def aforward(self, first, /, *rest, **named):
        return first, rest, named


@pytest.mark.parametrize("how", ["call", "acall"])
def test_positional_only_and_variadic_arguments_pass(how):
    step = Variadic()
    call = {"call": step, "acall": lambda *a, **k: run(step.acall(*a, **k))}[how]

    assert call(1, 2, 3, first=4, kind=5) == (1, (2, 3), {"first": 4, "kind": 5})


@pytest.mark.parametrize("make", [OnlyForward, OnlyAforward])
@pytest.mark.parametrize("how", ["call", "acall"])
@pytest.mark.parametrize(
    ("args", "kwargs", "message"),
    [
        ((), {}, "missing 1 required positional argument: 'x'"),
        ((1,), {"x": 2}, "multiple values for argument 'x'"),
        ((1, 2, 3), {}, "takes from 2 to 3 positional arguments but 4 were given"),
        ((1,), {"y": 2}, "unexpected keyword argument 'y'"),
    ],
    ids=["missing", "twice", "too_many", "unknown"],
)
def test_arguments_that_do_not_fit_give_pythons_own_error(make, how, args, kwargs, message):
    step = make()
    call = {"call": step, "acall": lambda *a, **k: run(step.acall(*a, **k))}[how]

    with pytest.raises(TypeError, match=message):
        call(*args, **kwargs)


# -- spans ---------------------------------------------------------------------------------------


def path_of(seen, span):
    by_id = {each.id: each for each in seen.spans}
    names = [span.name]
    while span.parent_id is not None:
        span = by_id[span.parent_id]
        names.append(span.name)
    return names[::-1]


@traced
def leaf():
    return 7


@traced
async def async_leaf():
    await asyncio.sleep(0)
    return 7


class Chain(Step):
    def __init__(self, tool):
        self.tool = tool

    async def aforward(self):
        return await self.tool.acall()


def test_spans_have_their_parents_across_threads():
    def sync_tool():
        return leaf() + run(async_leaf())

    with trace() as seen:
        assert run(Chain(Tool(sync_tool)).acall()) == 14

    assert [path_of(seen, span) for span in seen.find(kind="function")] == [
        ["Chain", "sync_tool", "leaf"],
        ["Chain", "sync_tool", "async_leaf"],
    ]


@pytest.mark.parametrize("how", ["call", "call_below_a_loop"])
def test_spans_have_their_parents_through_synchronous_calls(how):
    class Sync(Step):
        def forward(self, _x):
            return Chain(Tool(async_leaf))()

    with trace() as seen:
        assert CALLS[how](Sync(), 1) == 7

    assert path_of(seen, seen.spans[-1]) == ["Sync", "Chain", "async_leaf", "async_leaf"]


@pytest.mark.parametrize("how", CALLS.values(), ids=CALLS)
def test_a_call_after_another_is_a_root_of_its_own(how):
    with trace() as seen:
        how(OnlyForward(), 1)
        how(OnlyAforward(), 1)

    assert [span.name for span in seen.roots] == ["OnlyForward", "OnlyAforward"]


@pytest.mark.parametrize("make", [OnlyForward, OnlyAforward])
@pytest.mark.parametrize("how", CALLS.values(), ids=CALLS)
def test_an_error_is_on_the_span_and_the_next_call_is_a_root(make, how):
    with trace() as seen:
        with pytest.raises(TypeError):
            how(make(), None)
        how(make(), 1)

    assert [span.status for span in seen.roots] == ["error", "ok"]
