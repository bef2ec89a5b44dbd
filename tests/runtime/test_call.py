"""`Call` outside a kernel: it starts at its first await, like a coroutine."""

import asyncio
import gc

import pytest

import nbtool
from nbtool.errors import CallNotAwaitedError


async def double(x: int) -> int:
    await asyncio.sleep(0)
    return 2 * x


def call(x=4):
    return nbtool.Tool(double).acall(x=x)


async def test_nothing_runs_before_the_first_await():
    made = call()

    await asyncio.sleep(0.01)

    assert (made.done(), made.span, len(made.trace)) == (False, None, 0)
    made.close()


async def test_trace_of_a_call_holds_its_own_steps_only():
    first, second = call(1), call(2)

    await asyncio.gather(first, second)

    assert [(span.name, span.inputs) for span in second.trace] == [("double", {"x": 2})]


async def test_result_can_be_awaited_again():
    made = call()

    assert [await made, await made, made.done()] == [8, 8, True]


async def test_it_passes_for_a_coroutine_everywhere():
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call(1))

    assert task.result() == 2
    assert await asyncio.gather(call(2), asyncio.wait_for(call(3), 1)) == [4, 6]
    assert asyncio.iscoroutinefunction(nbtool.Tool(double).acall)


def test_asyncio_run_takes_it():
    assert asyncio.run(call()) == 8


def test_result_waits_in_synchronous_code():
    assert call().result(timeout_s=5) == 8


@pytest.mark.parametrize(
    "use", [lambda c: c.answer, lambda c: c["x"], bool, list], ids=["name", "item", "bool", "iter"]
)
def test_forgotten_await_explains_itself(use):
    made = call()

    with pytest.raises(CallNotAwaitedError, match="await call"):
        use(made)
    made.close()


def test_call_that_is_never_awaited_warns_as_a_coroutine_does():
    with pytest.warns(RuntimeWarning, match="'double.acall' was never awaited"):
        call()


async def test_running_calls_are_listed_until_they_end():
    started = asyncio.create_task(nbtool.Tool(asyncio.sleep).acall(delay=30))
    await asyncio.sleep(0.01)

    names = [made.name for made in nbtool.running()]
    stopped = nbtool.stop()

    with pytest.raises(asyncio.CancelledError):
        await started
    assert (names, stopped, nbtool.running()) == (["sleep"], 1, [])


async def test_running_call_tells_what_it_has_cost_so_far():
    asked, told = asyncio.Event(), asyncio.Event()

    class Paid(nbtool.BaseLM):
        async def aforward(self, prompt=None, messages=None, **kwargs):
            return {
                "choices": [{"message": {"content": "yes"}}],
                "_hidden_params": {"response_cost": 0.25},
            }

    class Asks(nbtool.Module):
        async def aforward(self):
            await Paid("paid").acall("?")
            asked.set()
            await told.wait()

    made = Asks().acall()
    task = asyncio.create_task(made)
    await asked.wait()
    shown, cost = repr(nbtool.running()), made.cost_usd
    told.set()
    await task

    assert (cost, "0.2500 USD so far" in shown) == (0.25, True)


async def test_task_of_a_call_that_is_cancelled_before_it_begins_leaves_no_warning():
    made = call()
    task = asyncio.ensure_future(made)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert made.cancelled()
    del made, task
    gc.collect()
