"""Bridges: programs in the other form, in a running loop and without one."""

from __future__ import annotations

import asyncio
import copy
import inspect
import threading

import pytest

from nbtool.configuration import context, settings
from nbtool.errors import LMServerError
from nbtool.lm.client import LM
from nbtool.programs.bridges import SyncProgram, asyncify, syncify
from nbtool.programs.module import Module
from nbtool.programs.predict import Predict
from nbtool.testing.answers import Answer, Hang
from nbtool.testing.dummy import DummyLM
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.boundary import watching
from nbtool.tracing.recorder import Recorder

ASYNCIFY = pytest.mark.api("asyncify")
SYNCIFY = pytest.mark.api("syncify")
PARIS = {"answer": "Paris"}


class Sync(Module):
    def forward(self, x, y=1):
        return x + y, threading.current_thread()


class Async(Module):
    async def aforward(self, x, y=1):
        await asyncio.sleep(0)
        return x + y, threading.current_thread()


class Both(Module):
    def forward(self):
        return "forward"

    async def aforward(self):
        return "aforward"


class Ask(Module):
    """Ask from synchronous code."""

    def __init__(self):
        self.ask = Predict("question -> answer")

    def forward(self, question):
        return self.ask(question=question)


def double(x):
    """Double it."""
    return 2 * x, settings.num_threads


async def adouble(x):
    await asyncio.sleep(0)
    return 2 * x, settings.num_threads


# -- asyncify ------------------------------------------------------------------------------------


@ASYNCIFY
async def test_synchronous_program_runs_in_a_worker_thread():
    total, thread = await asyncify(Sync())(1, y=2)

    assert total == 3
    assert thread is not threading.current_thread()


@ASYNCIFY
async def test_asynchronous_program_runs_on_the_loop():
    assert await asyncify(Async())(1, y=2) == (3, threading.current_thread())


@ASYNCIFY
@pytest.mark.parametrize("function", [double, adouble], ids=["plain", "async"])
async def test_function_is_taken_too_and_sees_the_callers_context(function):
    call = asyncify(function)
    with context(num_threads=2):
        assert await call(4) == (8, 2)


@ASYNCIFY
async def test_awaitable_result_of_a_plain_function_is_awaited():
    assert (await asyncify(lambda x: adouble(x))(4))[0] == 8  # noqa: PLW0108 - that is the case


@ASYNCIFY
async def test_context_is_the_one_of_the_call():
    call = asyncify(Ask())
    with context(lm=DummyLM([PARIS])):
        assert (await call(question="?")).answer == "Paris"


@ASYNCIFY
async def test_errors_pass_through():
    with pytest.raises(TypeError, match="nope"):
        await asyncify(Sync())(nope=1)


@ASYNCIFY
async def test_no_more_threads_work_at_once_than_the_settings_say():
    busy, most, lock = 0, 0, threading.Lock()

    def work():
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.05)
        with lock:
            busy -= 1

    with context(async_max_workers=2):
        await asyncio.gather(*[asyncify(work)() for _ in range(6)])
    assert most == 2


@ASYNCIFY
async def test_loop_goes_on_meanwhile():
    go_on = threading.Event()
    waiting = asyncio.ensure_future(asyncify(go_on.wait)(30))
    await asyncio.sleep(0.01)
    go_on.set()

    assert await waiting is True


@ASYNCIFY
async def test_cancelling_the_waiter_cancels_the_request():
    async with ScriptedServer([Hang(), Answer("[[ ## answer ## ]]\nParis")]) as server:
        lm = LM("openai/test", api_base=server.base_url, api_key="sk-test-1", cache=False)
        call = asyncify(Ask())
        with context(lm=lm):
            task = asyncio.ensure_future(call(question="?"))
            await server.wait_until(lambda: server.in_flight == 1)
            task.cancel()
            await asyncio.wait([task])
            await server.wait_until(lambda: server.aborted == 1)
            assert (await call(question="?")).answer == "Paris"


@ASYNCIFY
def test_result_is_a_coroutine_function_that_describes_the_program():
    call = asyncify(double)

    assert inspect.iscoroutinefunction(call)
    assert (call.__name__, call.__doc__) == ("double", "Double it.")
    assert asyncify(Ask()).__doc__ == "Ask from synchronous code."


# -- syncify -------------------------------------------------------------------------------------


@SYNCIFY
def test_program_is_changed_in_place_and_returned():
    program = Async()

    assert syncify(program) is program
    assert program(1, y=2)[0] == program.forward(1, y=2)[0] == 3


@SYNCIFY
async def test_program_works_in_a_running_loop():
    assert syncify(Async())(1, y=2)[0] == 3


@SYNCIFY
async def test_program_can_still_be_awaited():
    assert (await syncify(Async()).acall(1, y=2))[0] == 3


@SYNCIFY
def test_program_with_both_runs_the_asynchronous_one_afterwards():
    program = Both()
    assert program() == "forward"

    assert syncify(program)() == "aforward"


@SYNCIFY
@pytest.mark.parametrize("place", ["script", "loop"])
async def test_program_can_be_wrapped_and_stays_as_it_is(place):
    program = Both()
    wrapped = syncify(program, in_place=False)
    result = wrapped() if place == "loop" else await asyncio.to_thread(wrapped)

    assert (result, program()) == ("aforward", "forward")
    assert isinstance(wrapped, SyncProgram)
    assert wrapped.program is program


@SYNCIFY
async def test_wrapped_program_is_a_step_below_its_wrapper():
    recorder = Recorder()
    with watching(recorder):
        syncify(Both(), in_place=False)()

    assert [record.name for record in recorder.records()] == ["SyncProgram", "Both"]


@SYNCIFY
@pytest.mark.parametrize("place", ["script", "loop"])
async def test_async_function_becomes_a_plain_one(place):
    call = syncify(adouble)
    result = call(4) if place == "loop" else await asyncio.to_thread(call, 4)

    assert (result[0], call.__name__) == (8, "adouble")


@SYNCIFY
def test_changed_program_can_be_copied():
    twin = copy.deepcopy(syncify(Async()))

    assert twin(1)[0] == 2
    assert twin.forward.__self__ is twin


@SYNCIFY
def test_error_of_the_program_reaches_the_caller():
    class Failing(Module):
        async def aforward(self):
            raise LMServerError("no")

    with pytest.raises(LMServerError, match="no"):
        syncify(Failing())()
