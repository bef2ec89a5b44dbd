"""`request_cache`: users' own functions pass the cache."""

from __future__ import annotations

import asyncio
import inspect
import threading
from types import SimpleNamespace

import pytest

import nbtool
from nbtool import request_cache

pytestmark = pytest.mark.api("configure_cache")


@pytest.fixture
def calls():
    return []


@pytest.fixture(params=["sync", "async"])
def cached(request, calls):
    """Decorate a function, sync or async, that notes its calls: `await cached()(x=1)`."""

    def make(result=lambda x, **more: 2 * x, **options):
        def work(x, **more):
            calls.append(x)
            return result(x, **more)

        async def awork(x, **more):
            return work(x, **more)

        decorated = request_cache(**options)(awork if request.param == "async" else work)

        async def call(*args, **kwargs):
            found = decorated(*args, **kwargs)
            return await found if inspect.isawaitable(found) else found

        return call

    return make


async def test_what_was_computed_before_is_not_computed_again(cached, calls):
    double = cached()
    found = [await double(4), await double(x=4), await double(5)]

    assert (found, calls) == ([8, 8, 10], [4, 5])


async def test_results_are_copies(cached):
    rows = cached(lambda x, **more: [x])
    (await rows(1)).append("spoilt")
    (await rows(1)).append("spoilt")

    assert await rows(1) == [1]


async def test_keys_and_addresses_do_not_count(cached, calls):
    double = cached()
    await double(1, api_key="a", base_url="b")
    await double(1, api_key="c")

    assert calls == [1]


async def test_names_that_do_not_count_may_be_given(cached, calls):
    double = cached(ignored_args_for_cache_key=["trace"])
    await double(1, trace="a")
    await double(1, trace="b")
    await double(1, trace="b", api_key="c")

    assert calls == [1, 1]


async def test_one_argument_alone_may_count(cached, calls):
    first = cached(lambda x, **more: x["q"], cache_arg_name="x")
    found = [await first({"q": 1}, seed=1), await first({"q": 1}, seed=2), await first({"q": 2})]

    assert (found, len(calls)) == ([1, 1, 2], 2)


async def test_result_may_stay_out_of_memory(cached, calls):
    double = cached(enable_memory_cache=False)
    await double(1)
    assert len(nbtool.cache.memory_cache) == 0
    await double(1)

    assert calls == [1]


async def test_errors_are_not_kept(cached, calls):
    half = cached(lambda x, **more: 1 / x)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            await half(0)

    assert calls == [0, 0]


@pytest.mark.parametrize("x", [object(), threading.Lock(), {1, 2}], ids=["object", "lock", "set"])
async def test_call_without_a_key_is_made_each_time(cached, calls, x):
    same = cached(lambda x, **more: "done")

    assert [await same(x), await same(x)] == ["done", "done"]
    assert len(calls) == 2


async def test_argument_that_the_function_changes_counts_as_it_was(cached, calls):
    pop = cached(lambda x, **more: x.pop())
    found = [await pop([1, 2]), await pop([1, 2]), await pop([1])]

    assert (found, len(calls)) == ([2, 2, 1], 2)


async def test_response_that_comes_back_was_paid_for(cached):
    ask = cached(lambda x, **more: SimpleNamespace(choices=["a"], usage={"total_tokens": 5}))
    asked, hit = await ask(1), await ask(1)

    assert (asked.usage, hit.usage, hit.cache_hit) == ({"total_tokens": 5}, {}, True)


async def test_functions_of_the_same_arguments_are_kept_apart():
    @request_cache()
    def double(x):
        return 2 * x

    @request_cache()
    def square(x):
        return x * x

    assert (double(5), square(5)) == (10, 25)


def test_function_whose_source_has_changed_is_another_one():
    def twice(x):
        return x + x

    def square(x):
        return x * x

    twice.__qualname__ = square.__qualname__ = "ask"  # as in two cells, or two notebooks
    cached = request_cache()

    assert (cached(twice)(5), cached(square)(5), cached(twice)(5)) == (10, 25, 10)


class Broken:
    def get(self, *args):
        raise OSError("no connection")

    put = get


async def test_cache_that_fails_costs_a_warning_only(cached, caplog, monkeypatch):
    monkeypatch.setattr(nbtool, "cache", Broken())

    assert await cached()(2) == 4
    assert caplog.text.count("the call goes on without.") == 2


async def test_without_a_cache_the_function_runs(cached, calls, monkeypatch):
    monkeypatch.setattr(nbtool, "cache", None)
    double = cached()

    assert [await double(1), await double(1), calls] == [2, 2, [1, 1]]


async def test_identical_calls_at_the_same_time_run_once():
    calls = []

    @request_cache()
    async def double(x):
        calls.append(x)
        await asyncio.sleep(0.05)
        return 2 * x

    assert await asyncio.gather(*(double(4) for _ in range(5))) == [8] * 5
    assert calls == [4]


def test_sync_function_runs_in_the_thread_of_its_caller():
    @request_cache()
    def thread_of(x):
        return threading.current_thread().name

    assert thread_of(1) == threading.current_thread().name


def test_decorated_function_keeps_its_name_and_kind():
    async def ask(x: int) -> int:
        """Ask."""

    decorated = request_cache()(ask)

    assert (decorated.__name__, decorated.__doc__) == ("ask", "Ask.")
    assert inspect.signature(decorated) == inspect.signature(ask)
    assert inspect.iscoroutinefunction(decorated)


def test_maxsize_is_taken_and_does_nothing(caplog):
    request_cache(maxsize=5)(len)

    assert "maxsize=5 does nothing" in caplog.text
