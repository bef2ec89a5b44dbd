import asyncio
import contextvars
import threading

import pytest

from nbtool import configuration
from nbtool.configuration import DEFAULTS, configure, context, settings
from nbtool.errors import ConfigurationError


@pytest.fixture(autouse=True)
def defaults(monkeypatch):
    monkeypatch.setattr(configuration, "_process", DEFAULTS)


def threads():
    return settings.num_threads


def in_thread(fn):
    found = []
    thread = threading.Thread(target=lambda: found.append(fn()))
    thread.start()
    thread.join()
    return found[0]


async def after(event):
    await event.wait()
    return threads()


async def layered(number):
    with context(num_threads=number):
        yield threads()


def test_settings_have_defaults():
    assert (settings.lm, settings.num_threads, settings["max_errors"]) == (None, 8, 10)


def test_configure_changes_what_it_names_only():
    configure(num_threads=3)

    assert settings.config == {**DEFAULTS, "num_threads": 3}


def test_configure_is_seen_by_another_thread():
    configure(num_threads=3)

    assert in_thread(threads) == 3


def test_configure_in_another_thread_is_seen_here():
    in_thread(lambda: configure(num_threads=3))

    assert threads() == 3


async def test_configure_is_seen_by_a_task_that_already_runs():
    event = asyncio.Event()
    task = asyncio.create_task(after(event))
    await asyncio.sleep(0)

    configure(num_threads=3)
    event.set()

    assert await task == 3


async def test_configure_in_a_task_is_seen_outside_of_it():
    async def change():
        configure(num_threads=3)

    await asyncio.create_task(change())

    assert threads() == 3


def test_configure_from_many_threads_loses_nothing():
    start = threading.Barrier(8)

    def change(number):
        start.wait()
        configure(**{f"own_{number}": number})

    workers = [threading.Thread(target=change, args=(number,)) for number in range(8)]
    [worker.start() for worker in workers]
    [worker.join() for worker in workers]

    assert [settings.get(f"own_{number}") for number in range(8)] == list(range(8))


def test_context_is_over_at_its_end():
    with context(num_threads=2):
        assert threads() == 2

    assert threads() == 8


def test_context_is_over_after_an_error():
    with pytest.raises(ZeroDivisionError), context(num_threads=2):
        raise ZeroDivisionError

    assert threads() == 8


def test_contexts_nest_and_show_what_they_do_not_name():
    with context(num_threads=2, max_errors=1):
        with context(num_threads=3):
            assert (settings.num_threads, settings.max_errors) == (3, 1)
        assert (settings.num_threads, settings.max_errors) == (2, 1)


def test_configure_inside_a_context_shows_where_the_context_is_silent():
    with context(num_threads=2):
        configure(num_threads=3, max_errors=1)
        assert (settings.num_threads, settings.max_errors) == (2, 1)

    assert (settings.num_threads, settings.max_errors) == (3, 1)


async def test_async_with_does_as_with_does():
    async with context(num_threads=2):
        assert threads() == 2

    assert threads() == 8


async def test_task_started_inside_inherits_the_context_and_keeps_it():
    event = asyncio.Event()
    with context(num_threads=2):
        task = asyncio.create_task(after(event))
    event.set()

    assert await task == 2


async def test_thread_of_asyncio_inherits_the_context():
    with context(num_threads=2):
        assert await asyncio.to_thread(threads) == 2


def test_plain_thread_does_not_inherit_the_context():
    with context(num_threads=2):
        assert in_thread(threads) == 8


async def test_context_is_not_seen_by_sibling_tasks():
    async def inside(number):
        with context(num_threads=number):
            await asyncio.sleep(0)
            return threads()

    outside = asyncio.create_task(asyncio.sleep(0, threads()))

    assert await asyncio.gather(inside(2), inside(3)) == [2, 3]
    assert await outside == 8


async def test_one_context_object_serves_several_tasks_at_once():
    shared = context(num_threads=2)
    first_may_leave, second_may_leave = asyncio.Event(), asyncio.Event()

    async def use(leave):
        with shared:
            await leave.wait()
        return threads()

    first = asyncio.create_task(use(first_may_leave))
    second = asyncio.create_task(use(second_may_leave))
    await asyncio.sleep(0)
    first_may_leave.set()
    assert await first == 8
    second_may_leave.set()
    assert await second == 8


def test_context_object_can_be_used_again_and_inside_itself():
    twice = context(num_threads=2)
    with twice, context(num_threads=3), twice:
        assert threads() == 2
    with twice:
        assert threads() == 2

    assert threads() == 8


async def test_async_generator_closed_by_another_task_changes_nothing_there():
    generator = layered(2)
    await asyncio.create_task(anext(generator))

    with context(num_threads=5):
        await generator.aclose()
        assert threads() == 5

    assert threads() == 8


async def test_generator_entered_below_a_context_brings_no_settings_to_who_closes_it():
    async def enter():
        with context(num_threads=4):
            generator = layered(2)
            await anext(generator)
            return generator

    generator = await asyncio.create_task(enter())
    with context(num_threads=5):
        await generator.aclose()
        assert threads() == 5


def test_context_left_in_a_copy_of_its_context_is_over_there():
    layer = context(num_threads=2)
    with context(num_threads=4):
        layer.__enter__()
        copy = contextvars.copy_context()
        layer_left = copy.run(lambda: (layer.__exit__(None, None, None), threads())[1])

    assert layer_left == 4


async def test_async_generator_gives_its_context_to_its_consumer_while_it_is_open():
    generator = layered(2)

    assert [number async for number in generator] == [2]
    assert threads() == 8


@pytest.mark.parametrize("name", ["lm", "num_threads", "anything"])
def test_settings_are_read_only_and_say_what_to_write(name):
    with pytest.raises(ConfigurationError, match=rf"settings\.{name} = … was tried") as caught:
        setattr(settings, name, 1)

    assert f"configure({name}=…)" in caught.value.hint
    assert f"context({name}=…)" in caught.value.hint


def test_unknown_setting_is_an_attribute_error_that_lists_the_known_ones():
    with pytest.raises(AttributeError, match=r"no setting 'langauge_model'.*'adapter'.*'lm'"):
        settings.langauge_model  # noqa: B018 - the access is the test

    assert not hasattr(settings, "langauge_model")


def test_unknown_setting_by_item_is_a_key_error():
    with pytest.raises(KeyError, match="nothing"):
        settings["nothing"]


def test_unknown_setting_can_be_asked_for_with_a_default():
    assert settings.get("nothing") is None
    assert settings.get("nothing", 5) == 5
    assert settings.get("num_threads", 5) == 8
    assert settings.get("lm", 5) is None


def test_settings_of_the_users_own_are_kept():
    configure(my_own=1)
    with context(other=2):
        assert (settings.my_own, settings["other"]) == (1, 2)
        assert "other" in settings

    assert "other" not in settings
    assert "my_own" in settings


def test_settings_are_listed_with_their_values():
    with context(num_threads=2):
        assert list(settings) == list(settings.config) == list(DEFAULTS)
        assert settings.copy()["num_threads"] == 2
        assert "  num_threads = 2\n" in repr(settings)


def test_copy_of_the_settings_changes_nothing():
    settings.copy()["num_threads"] = 2
    settings.config["num_threads"] = 2

    assert threads() == 8
