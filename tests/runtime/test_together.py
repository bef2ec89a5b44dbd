"""`at_once`: a function for several items, none of which outlives the wait."""

import asyncio

import pytest

from nbtool.runtime.together import at_once


class Barrier:
    """Let calls pass when so many of them have come, or never; keep which were cancelled."""

    def __init__(self, parties, *, opens=True):
        self.left, self.cancelled = parties, []
        self.full, self.opened = asyncio.Event(), asyncio.Event()
        self.opens = opens

    async def wait(self, item):
        self.left -= 1
        if not self.left:
            self.full.set()
        try:
            await (self.full if self.opens else self.opened).wait()
        except asyncio.CancelledError:
            self.cancelled.append(item)
            raise
        return item


async def test_results_come_in_the_order_of_the_items():
    async def slow(turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        return turns

    assert await at_once(slow, [3, 0, 2]) == [3, 0, 2]
    assert await at_once(slow, []) == []


async def test_all_run_at_the_same_time():
    assert await asyncio.wait_for(at_once(Barrier(5).wait, range(5)), 5) == [0, 1, 2, 3, 4]


async def test_cancelling_the_wait_cancels_all():
    barrier = Barrier(3, opens=False)
    task = asyncio.create_task(at_once(barrier.wait, "abc"))
    await barrier.full.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert sorted(barrier.cancelled) == ["a", "b", "c"]


@pytest.mark.parametrize("error", [KeyError("x"), SystemExit(3), KeyboardInterrupt()], ids=repr)
async def test_first_error_is_raised_as_it_is_and_the_others_are_cancelled(error):
    barrier = Barrier(2, opens=False)

    async def fail_or_wait(item):
        if item == 1:
            raise error
        return await barrier.wait(item)

    with pytest.raises(type(error)) as caught:
        await at_once(fail_or_wait, range(3))

    assert caught.value is error
    assert sorted(barrier.cancelled) == [0, 2]


async def test_one_that_cancels_itself_ends_the_wait():
    barrier = Barrier(2, opens=False)

    async def give_up_or_wait(item):
        if item == 1:
            raise asyncio.CancelledError
        return await barrier.wait(item)

    with pytest.raises(asyncio.CancelledError):
        await at_once(give_up_or_wait, range(3))

    assert sorted(barrier.cancelled) == [0, 2]
