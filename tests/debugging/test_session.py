"""A session and its states: pause, step, resume, stop, and what means nothing."""

from __future__ import annotations

import asyncio
import threading

import pytest

import nbtool
from nbtool.debugging.attaching import attach
from nbtool.errors import DebugError


async def double(x: int):
    await asyncio.sleep(0)
    return 2 * x


class Chain(nbtool.Module):
    """Run steps one after another, or side by side."""

    def __init__(self, names="abc", side_by_side=False):
        self.tools = [nbtool.Tool(double, name=name) for name in names]
        self.side_by_side = side_by_side

    async def aforward(self, x):
        if self.side_by_side:
            return await asyncio.gather(*[tool.acall(x=x) for tool in self.tools])
        for tool in self.tools:
            x = await tool.acall(x=x)
        return x


def debugged(chain=None, **options):
    return nbtool.debug((chain or Chain()).acall(x=1), **options)


async def test_chain_without_breakpoints_runs_as_without_a_debugger(agent, ran):
    session = nbtool.debug(agent.acall(question="q"))

    assert (await session).answer == "seen"
    assert sorted(ran) == ["agent", "double", "lm", "lm", "slow"]
    assert (session.state, session.paused) == ("finished", [])


async def test_stepping_into_visits_every_boundary_in_order(walk):
    session = debugged(Chain("a"), stop_first=True)

    assert await walk(session) == [
        ("before", "Chain"), ("before", "a"), ("after", "a"), ("after", "Chain"),
    ]  # fmt: skip
    assert await session == 2


async def test_stepping_over_stops_at_the_end_of_the_step_and_before_its_sibling(walk):
    session = debugged(stop_first=True)
    await session.wait_paused(5)
    session.step_into()

    assert await walk(session, "step_over") == [
        ("before", "a"), ("after", "a"), ("before", "b"), ("after", "b"), ("before", "c"),
        ("after", "c"), ("after", "Chain"),
    ]  # fmt: skip


async def test_stepping_over_the_root_passes_all_that_is_inside(walk):
    session = debugged(stop_first=True)

    assert await walk(session, "step_over") == [("before", "Chain"), ("after", "Chain")]


async def test_stepping_out_stops_after_the_step_around(where):
    session = debugged(breakpoints=["b"])
    await session.wait_paused(5)
    session.step_out()

    assert where(await session.wait_paused(5)) == [("after", "Chain")]
    session.step_out()
    assert await session == 8


async def test_steps_reach_into_adapters_which_are_synchronous(agent, walk):
    session = nbtool.debug(agent.acall(question="q"), stop_first=True)
    seen = await walk(session)

    assert seen[:6] == [
        ("before", "Agent"), ("before", "Predict"), ("before", "ChatAdapter.format"),
        ("after", "ChatAdapter.format"), ("before", "dummy"), ("after", "dummy"),
    ]  # fmt: skip
    assert (await session).answer == "seen"


async def test_pause_stops_every_branch_at_its_next_boundary(where):
    session = debugged(Chain("abc", side_by_side=True), stop_first=True)
    await session.wait_paused(5)
    session.step_into()

    assert where(await session.wait_paused(5)) == [("before", name) for name in "abc"]
    assert session.state == "paused"
    session.resume()
    assert await session == [2, 2, 2]


async def test_pause_while_a_step_runs_waits_for_its_end(where):
    gate = asyncio.Event()

    async def slow():
        await gate.wait()
        return 5

    session = nbtool.debug(nbtool.Tool(slow).acall())
    await asyncio.sleep(0.01)
    session.pause()

    assert (session.state, [what for _, what in session.in_flight]) == ("pausing", ["tool slow"])
    gate.set()
    assert where(await session.wait_paused(5)) == [("after", "slow")]
    session.resume()
    assert await session == 5


async def test_one_branch_is_stepped_while_the_others_wait(where):
    session = debugged(Chain("ab", side_by_side=True), stop_first=True)
    await session.wait_paused(5)
    session.step_into()
    first = (await session.wait_paused(5))[1]
    session.step_into(first)

    assert where(await session.wait_paused(5)) == [("before", "a"), ("after", "b")]
    session.resume()
    assert await session == [2, 2]


async def test_one_branch_is_resumed_while_the_others_wait(where):
    class Two(nbtool.Module):
        async def aforward(self, x):
            return await asyncio.gather(*[Chain(names).acall(x=x) for names in ("ab", "cd")])

    session = debugged(Two(), stop_first=True)
    await session.wait_paused(5)
    session.step_into()
    first = (await session.wait_paused(5))[0]
    session.resume(first)
    await asyncio.sleep(0.05)

    assert where(session.paused) == [("before", "Chain")]
    assert [span.name for span in session.call.trace.find(kind="tool")] == ["a", "b"]
    session.resume()
    assert await session == [4, 4]


async def test_command_names_the_step_it_is_for(where):
    session = debugged(Chain("ab", side_by_side=True), stop_first=True)
    await session.wait_paused(5)
    session.step_into()
    second = (await session.wait_paused(5))[1]
    session.step_over(second.span.id)

    assert where(await session.wait_paused(5)) == [("before", "a"), ("after", "b")]
    session.resume()
    await session


async def test_stop_ends_a_paused_chain():
    session = debugged(breakpoints=["b"])
    await session.wait_paused(5)
    session.stop()

    with pytest.raises(asyncio.CancelledError):
        await session
    assert (session.state, session.paused) == ("stopped", [])


async def test_stop_ends_a_running_chain():
    session = nbtool.debug(nbtool.Tool(asyncio.sleep, name="sleep").acall(delay=60))
    await asyncio.sleep(0.01)
    session.stop()

    with pytest.raises(asyncio.CancelledError):
        await session
    assert session.state == "stopped"


async def test_limit_around_a_paused_chain_expires_as_it_would_else():
    session = debugged(breakpoints=["b"])

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(session, 0.05)
    assert (session.state, session.paused) == ("stopped", [])


async def test_two_debugged_chains_and_others_run_side_by_side():
    first, second = debugged(breakpoints=["b"]), debugged(breakpoints=["c"])
    await first.wait_paused(5)
    await second.wait_paused(5)

    assert await Chain().acall(x=1) == 8
    assert {*nbtool.paused()} == {first, second}
    first.resume()
    second.resume()
    assert [await first, await second] == [8, 8]


async def test_commands_work_from_other_threads():
    session = debugged(breakpoints=["a", "b", "c"])
    for _ in "abc":
        await session.wait_paused(5)
        await asyncio.to_thread(session.resume)

    assert await session == 8


async def test_coroutine_becomes_the_outermost_step(where):
    async def main():
        return [await Chain("a").acall(x=1), await Chain("b").acall(x=2)]

    session = nbtool.debug(main(), breakpoints=["b"])

    assert where(await session.wait_paused(5)) == [("before", "b")]
    session.resume()
    assert await session == [2, 4]
    assert session.call.trace.roots[0].name == "main"


async def test_debugger_comes_to_a_chain_that_runs():
    release = asyncio.Event()

    async def wait(x):
        await release.wait()
        return x

    call = nbtool.Tool(wait).acall(x=5)
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    session = attach(call)
    session.pause()
    release.set()
    (stop,) = await session.wait_paused(5)
    session.output = 6
    session.resume()

    assert (stop.place, await task) == ("after", 6)


async def test_debugger_that_comes_late_still_meets_the_error():
    release = asyncio.Event()

    async def fail(x):
        await release.wait()
        raise ValueError("no")

    call = nbtool.Tool(fail).acall(x=5)
    task = asyncio.ensure_future(call)
    await asyncio.sleep(0)
    session = attach(call)
    release.set()
    await session.wait_paused(5)
    session.skip("mended")

    assert await task == "mended"


def test_in_a_script_the_chain_starts_when_its_result_is_asked_for():
    session = debugged()

    assert session.state == "idle"
    assert session.result(timeout_s=5) == 8


def test_plain_script_is_let_go_on_by_another_thread():
    session = debugged(breakpoints=["b"])
    paused = threading.Event()
    session.listen(lambda: session.paused and paused.set())

    def let_go():
        paused.wait(5)
        session.resume()

    thread = threading.Thread(target=let_go)
    thread.start()

    assert session.result(timeout_s=5) == 8
    thread.join()


MEANINGLESS = {
    "resume": lambda session: session.resume(),
    "step_into": lambda session: session.step_into(),
    "step_over": lambda session: session.step_over(),
    "step_out": lambda session: session.step_out(),
    "retry": lambda session: session.retry(),
    "raise_": lambda session: session.raise_(),
    "skip": lambda session: session.skip(1),
    "edit": lambda session: session.edit(inputs={"x": 1}),
    "inputs": lambda session: session.inputs,
    "output": lambda session: session.output,
    "another step": lambda session: session.resume(-1),
    "detach": lambda session: session.detach(),
}


@pytest.mark.parametrize("command", MEANINGLESS.values(), ids=MEANINGLESS)
async def test_command_to_a_running_chain_that_means_nothing_is_refused(command):
    release = asyncio.Event()

    async def wait():
        await release.wait()

    session = nbtool.debug(nbtool.Tool(wait).acall())
    await asyncio.sleep(0.01)

    with pytest.raises(DebugError):
        command(session)
    assert session.state == "running"
    release.set()
    await session


@pytest.mark.parametrize("command", [*MEANINGLESS, "pause", "stop"])
async def test_command_to_an_ended_chain_is_refused(command):
    session = debugged()
    await session

    with pytest.raises(DebugError):
        MEANINGLESS.get(command, lambda s: getattr(s, command)())(session)
    assert session.state == "finished"


@pytest.mark.parametrize("command", ["retry", "raise_", "output", "pause"])
async def test_command_before_a_step_that_means_nothing_is_refused(command, where):
    session = debugged(stop_first=True)
    await session.wait_paused(5)

    with pytest.raises(DebugError, match=r"paused; it waits before 'Chain'"):
        MEANINGLESS.get(command, lambda s: getattr(s, command)())(session)
    assert where(session.paused) == [("before", "Chain")]
    session.resume()
    assert await session == 8


async def test_second_debugger_of_a_chain_is_refused():
    call = Chain().acall(x=1)
    session = nbtool.debug(call, breakpoints=["b"])
    with pytest.raises(DebugError, match="has a debugger already"):
        nbtool.debug(call)
    await session.wait_paused(5)
    with pytest.raises(DebugError, match="has a debugger already"):
        nbtool.debug(call)

    session.resume()
    assert await session == 8


async def test_chain_that_has_ended_is_refused():
    call = Chain().acall(x=1)
    await call

    with pytest.raises(DebugError, match="has ended"):
        nbtool.debug(call)


async def test_what_has_no_steps_is_refused():
    future = asyncio.get_running_loop().create_future()

    with pytest.raises(DebugError, match="cannot stop the steps of"):
        nbtool.debug(future)


async def test_debugging_inside_of_a_step_is_refused():
    async def inner():
        nbtool.debug(double(4))

    with pytest.raises(DebugError, match="inside of a step"):
        await nbtool.Tool(inner).acall()


async def test_branches_that_a_failed_chain_leaves_behind_are_let_go():
    class Careless(nbtool.Module):
        async def aforward(self):
            await asyncio.gather(Chain("a").acall(x=1), self.fail())

        async def fail(self):
            await asyncio.sleep(0.02)
            raise ValueError("no")

    session = nbtool.debug(Careless().acall(), breakpoints=["a"], on_error=False)
    await session.wait_paused(5)

    with pytest.raises(ValueError, match="no"):
        await session
    assert session.paused == []


async def test_waiting_for_a_pause_has_a_limit():
    session = nbtool.debug(nbtool.Tool(asyncio.sleep, name="sleep").acall(delay=60))

    with pytest.raises(TimeoutError):
        await session.wait_paused(0.02)
    session.stop()


async def test_listener_that_raises_is_dropped_and_the_chain_goes_on(caplog):
    session = debugged(breakpoints=["b"])
    session.listen(lambda: 1 / 0)
    await session.wait_paused(5)
    session.resume()

    assert await session == 8
    assert caplog.text.count("A listener of a debugger failed") == 1


async def test_waiter_in_a_script_is_detached_and_the_chain_stays():
    session = debugged(breakpoints=["b"])
    waiting = asyncio.ensure_future(asyncio.wait_for(session, 5))
    await session.wait_paused(5)
    session.detach()

    with pytest.raises(nbtool.Detached, match=r"Chain is paused at b \(before\)"):
        await waiting
    session.resume()
    assert await session == 8


async def test_chain_that_is_stopped_before_it_has_begun_leaves_no_warning():
    session = debugged()
    session.call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await session
    assert (session.call.cancelled(), session.state) == (True, "stopped")
    assert await session.wait_paused(5) == []


async def test_calls_inside_a_block_get_debuggers_of_their_own(where):
    with nbtool.debug_calls("b"):
        first, second = (asyncio.ensure_future(Chain().acall(x=x)) for x in (1, 2))
        await asyncio.sleep(0.02)

    assert [where(session.paused) for session in nbtool.paused()] == [[("before", "b")]] * 2
    for session in nbtool.paused():
        session.resume()
    assert [await first, await second] == [8, 16]


async def test_calls_inside_a_block_stop_at_errors_and_first_steps(failing, where):
    with nbtool.debug_calls(stop_first=True):
        task = asyncio.ensure_future(failing.acall(x=1))
        await asyncio.sleep(0.02)
    (session,) = nbtool.paused()
    assert where(session.paused) == [("before", "look")]
    session.resume()
    await session.wait_paused(5)
    session.skip(5)

    assert await task == 5
