"""Ctrl-C that strikes before the main thread sleeps, or another thread, is not lost.

Such a signal is noted, and `select()` sleeps on. It is made here by sending it to another thread.
"""

import asyncio
import signal

from nbtool.runtime.door import run
from nbtool.runtime.waking import WokenBySignals

UNSEEN = """
import asyncio, signal, threading, time
from nbtool.runtime.door import run

def interrupt_unseen():
    time.sleep(0.3)
    signal.pthread_kill(threading.get_ident(), signal.SIGINT)

threading.Thread(target=interrupt_unseen).start()
"""


def test_interrupt_that_strikes_another_thread_ends_a_wait_in_a_script(script):
    process = script(UNSEEN + "run(asyncio.sleep(60))")
    _, err = process.communicate(timeout=10)

    assert err.splitlines()[-1] == "KeyboardInterrupt"


def test_whose_descriptor_was_there_first_keeps_it():
    loop = asyncio.new_event_loop()
    loop.add_signal_handler(signal.SIGUSR1, int)
    before = signal.set_wakeup_fd(-1)
    signal.set_wakeup_fd(before)
    try:
        assert run(asyncio.sleep(0, "done")) == "done"
        after = signal.set_wakeup_fd(before)
    finally:
        loop.close()

    assert before == after != -1


def test_descriptor_is_there_only_while_somebody_waits():
    async def descriptor():
        number = signal.set_wakeup_fd(-1)
        signal.set_wakeup_fd(number)
        return number

    assert run(descriptor()) != -1
    assert signal.set_wakeup_fd(-1) == -1


def test_loop_that_ended_leaves_no_descriptor_behind():
    ended, other = asyncio.new_event_loop(), asyncio.new_event_loop()
    with WokenBySignals(ended):
        pass
    ended.close()
    with WokenBySignals(other):
        del ended  # its descriptors are closed now, and not the other one's
        assert signal.set_wakeup_fd(-1) != -1
    other.close()
    assert signal.set_wakeup_fd(-1) == -1
