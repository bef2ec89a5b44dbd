"""A mailbox takes without waiting, and keeps no more than it must."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading

import pytest

from nbtool.runtime.mailbox import MOST_WAITING, Mailbox


async def taken(mailbox):
    items = []
    while (item := await mailbox.take()) is not None:
        items.append(item)
    return items


async def test_entries_come_out_in_order_also_those_put_before_the_reader_came():
    mailbox = Mailbox("".join)
    mailbox.put("a")
    reading = asyncio.ensure_future(taken(mailbox))
    await asyncio.sleep(0)
    mailbox.put("b")
    mailbox.close()
    assert await reading == ["a", "b"]


async def test_entries_of_one_key_wait_as_one():
    mailbox = Mailbox("".join)
    for number in range(100_000):
        mailbox.put("x", key=number % 2)
    mailbox.close()
    assert len(mailbox) == 2
    assert await taken(mailbox) == ["x" * 50_000] * 2


async def test_messages_that_nobody_reads_are_bounded_and_the_newest_stay(caplog):
    mailbox = Mailbox("".join)
    mailbox.put("text", key="a")
    with caplog.at_level(logging.WARNING, "nbtool"):
        for number in range(MOST_WAITING + 3):
            mailbox.put(str(number))
    mailbox.close()
    assert (await taken(mailbox))[:2] == ["text", "3"]
    assert [record.message for record in caplog.records] == [
        "Nobody reads a stream: its oldest messages are dropped."
    ]


async def test_other_threads_put_and_the_reader_wakes():
    mailbox = Mailbox("".join)

    def put():
        for number in range(1_000):
            mailbox.put(str(number))

    threads = [threading.Thread(target=put) for _ in range(4)]
    reading = asyncio.ensure_future(taken(mailbox))
    for thread in threads:
        thread.start()
    await asyncio.gather(*(asyncio.to_thread(thread.join) for thread in threads))
    mailbox.close()
    assert sorted(await reading) == sorted(4 * [str(number) for number in range(1_000)])


@pytest.mark.parametrize("times", [1, 2])
async def test_a_reader_that_is_cancelled_loses_nothing(times):
    mailbox = Mailbox("".join)
    for _ in range(times):
        reading = asyncio.ensure_future(mailbox.take())
        await asyncio.sleep(0)
        reading.cancel()
        await asyncio.wait([reading])
    mailbox.put("a")
    assert await mailbox.take() == "a"


async def test_a_wait_is_cancelled_once_also_before_it_has_begun():
    mailbox = Mailbox("".join)
    asyncio.get_running_loop().call_soon(mailbox.cancel)
    with pytest.raises(asyncio.CancelledError):
        await mailbox.take()
    mailbox.cancel()
    with pytest.raises(asyncio.CancelledError):
        await mailbox.take()
    asyncio.get_running_loop().call_soon(mailbox.put, "a")
    assert await mailbox.take() == "a"


@pytest.mark.timeout(5)
async def test_a_signal_that_strikes_the_reader_at_work_cancels_its_next_wait():
    def join(texts):
        signal.raise_signal(signal.SIGUSR1)
        return "".join(texts)

    mailbox = Mailbox(join)
    before = signal.signal(signal.SIGUSR1, lambda *_: mailbox.cancel())
    try:
        for text in "ab":
            mailbox.put(text, key=1)
        assert await mailbox.take() == "ab"
        with pytest.raises(asyncio.CancelledError):
            await mailbox.take()
    finally:
        signal.signal(signal.SIGUSR1, before)
