"""Who may configure: the thread and the task that did it first."""

import asyncio
import threading

import pytest

from nbtool import ownership
from nbtool.configuration import configure, settings
from nbtool.errors import SettingsOwnershipError
from nbtool.programs.module import Module
from nbtool.runtime.threads import in_worker

pytestmark = pytest.mark.api("configure")

THREAD = r"dspy\.settings can only be changed by the thread that initially configured it\."
TASK = (
    r"dspy\.configure\(\.\.\.\) can only be called from the same async task that called it first\. "
    r"Please use `dspy\.context\(\.\.\.\)` in other async tasks instead\."
)
CHAIN = "a task of a running call"


def change(number=3):
    configure(num_threads=number)
    return settings.num_threads


async def change_in_task(number=3):
    return change(number)


def in_thread(function):
    """Run a function in a thread; return what it returned or raised."""
    found = []

    def keep():
        try:
            found.append(function())
        except SettingsOwnershipError as error:
            found.append(error)

    thread = threading.Thread(target=keep, name="other")
    thread.start()
    thread.join()
    return found[0]


class Changing(Module):
    async def aforward(self):
        return change()


class Gathering(Module):
    async def aforward(self):
        return await asyncio.gather(change_in_task(4), change_in_task(5))


class ChangingInThread(Module):
    def forward(self):
        return change()


def test_another_thread_may_not_configure_after_the_first():
    change()
    error = in_thread(change)

    with pytest.raises(SettingsOwnershipError, match=THREAD) as caught:
        raise error
    assert isinstance(error, RuntimeError)
    assert "with context(...)" in caught.value.hint
    assert "That was 'MainThread'; this is 'other'." in str(error)


def test_owner_may_configure_again():
    change(3)

    assert change(4) == 4


def test_refused_values_are_not_set():
    change(3)
    in_thread(lambda: change(4))

    assert settings.num_threads == 3


def test_main_thread_takes_over_from_a_thread_that_has_ended():
    assert in_thread(change) == 3

    assert change(4) == 4


def test_other_threads_do_not_take_over_from_a_thread_that_has_ended():
    in_thread(change)

    assert isinstance(in_thread(change), SettingsOwnershipError)


async def test_another_task_may_not_configure_after_the_first():
    change()

    with pytest.raises(SettingsOwnershipError, match=TASK):
        await asyncio.create_task(change_in_task(4))


async def test_task_that_did_it_first_may_do_it_again():
    change(3)

    assert change(4) == 4


async def test_task_that_has_ended_keeps_the_settings_while_its_loop_runs():
    await asyncio.create_task(change_in_task())

    with pytest.raises(SettingsOwnershipError, match=TASK):
        change(4)


def test_next_asyncio_run_may_configure_again():
    asyncio.run(change_in_task(3))

    assert asyncio.run(change_in_task(4)) == 4


def test_first_task_may_configure_what_the_module_level_has_configured():
    change(3)

    assert asyncio.run(change_in_task(4)) == 4
    assert change(5) == 5


def test_chain_may_not_configure_even_as_the_first():
    with pytest.raises(SettingsOwnershipError, match=CHAIN):
        Changing()()


async def test_tasks_of_a_chain_may_not_configure():
    with pytest.raises(SettingsOwnershipError, match=CHAIN):
        await Gathering().acall()


async def test_owner_may_configure_in_a_chain_that_it_awaits():
    change(4)

    assert await Changing().acall() == 3


@pytest.mark.parametrize("call", [in_worker, lambda f: ChangingInThread().acall()])
async def test_worker_thread_may_not_configure(call):
    with pytest.raises(SettingsOwnershipError, match="a worker thread of a running call"):
        await call(change)


def test_synchronous_program_may_configure_in_the_thread_of_the_owner():
    change(4)

    assert ChangingInThread()() == 3


def test_place_that_is_allowed_may_configure_and_owns_nothing():
    def is_other():
        return threading.current_thread().name == "other"

    ownership.allow_where(is_other)
    change(3)
    assert in_thread(lambda: change(4)) == 4
    ownership.allow_no_more(is_other)

    assert isinstance(in_thread(change), SettingsOwnershipError)
    assert change(5) == 5
