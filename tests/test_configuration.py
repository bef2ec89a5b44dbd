import asyncio
import contextvars
import stat
import threading

import pytest

from nbtool import configuration
from nbtool.configuration import DEFAULTS, configure, context, settings
from nbtool.errors import ConfigurationError, SavingError, StateError
from nbtool.runtime.door import run
from nbtool.runtime.threads import in_worker
from nbtool.tools.tool import Tool

CONFIGURE = pytest.mark.api("configure")
CONTEXT = pytest.mark.api("context")
SETTINGS = pytest.mark.api("settings")
STATE = pytest.mark.api("settings.state")
KEYS = [
    "lm", "adapter", "rm", "trace", "callbacks", "async_max_workers", "send_stream",
    "disable_history", "track_usage", "usage_tracker", "caller_predict", "caller_modules",
    "stream_listeners", "provide_traceback", "num_threads", "max_errors",
    "allow_tool_async_sync_conversion", "max_history_size", "max_trace_size",
    "warn_on_type_mismatch", "experimental",
]  # fmt: skip


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


@SETTINGS
def test_settings_have_defaults():
    assert (settings.lm, settings.num_threads, settings["max_errors"]) == (None, 8, 10)


@CONFIGURE
def test_configure_changes_what_it_names_only():
    configure(num_threads=3)

    assert settings.config == {**DEFAULTS, "num_threads": 3}


@CONFIGURE
def test_configure_is_seen_by_another_thread():
    configure(num_threads=3)

    assert in_thread(threads) == 3


@CONFIGURE
def test_configure_in_another_thread_is_seen_here():
    in_thread(lambda: configure(num_threads=3))

    assert threads() == 3


@CONFIGURE
async def test_configure_is_seen_by_a_task_that_already_runs():
    event = asyncio.Event()
    task = asyncio.create_task(after(event))
    await asyncio.sleep(0)

    configure(num_threads=3)
    event.set()

    assert await task == 3


@CONFIGURE
async def test_configure_in_a_task_is_seen_outside_of_it():
    async def change():
        configure(num_threads=3)

    await asyncio.create_task(change())

    assert threads() == 3


@CONTEXT
def test_context_is_over_at_its_end():
    with context(num_threads=2):
        assert threads() == 2

    assert threads() == 8


def test_context_is_over_after_an_error():
    with pytest.raises(ZeroDivisionError), context(num_threads=2):
        raise ZeroDivisionError

    assert threads() == 8


@CONTEXT
def test_contexts_nest_and_show_what_they_do_not_name():
    with context(num_threads=2, max_errors=1):
        with context(num_threads=3):
            assert (settings.num_threads, settings.max_errors) == (3, 1)
        assert (settings.num_threads, settings.max_errors) == (2, 1)


@CONTEXT
def test_configure_inside_a_context_shows_where_the_context_is_silent():
    with context(num_threads=2):
        configure(num_threads=3, max_errors=1)
        assert (settings.num_threads, settings.max_errors) == (2, 1)

    assert (settings.num_threads, settings.max_errors) == (3, 1)


@CONTEXT
async def test_async_with_does_as_with_does():
    async with context(num_threads=2):
        assert threads() == 2

    assert threads() == 8


@CONTEXT
async def test_task_started_inside_inherits_the_context_and_keeps_it():
    event = asyncio.Event()
    with context(num_threads=2):
        task = asyncio.create_task(after(event))
    event.set()

    assert await task == 2


@CONTEXT
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


@CONTEXT
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


@SETTINGS
def test_unknown_setting_by_item_is_a_key_error():
    with pytest.raises(KeyError, match="nothing"):
        settings["nothing"]


@SETTINGS
def test_unknown_setting_can_be_asked_for_with_a_default():
    assert settings.get("nothing") is None
    assert settings.get("nothing", 5) == 5
    assert settings.get("num_threads", 5) == 8
    assert settings.get("lm", 5) is None


@CONFIGURE
def test_settings_of_the_users_own_are_kept():
    configure(my_own=1)
    with context(other=2):
        assert (settings.my_own, settings["other"]) == (1, 2)
        assert "other" in settings

    assert "other" not in settings
    assert "my_own" in settings


@SETTINGS
def test_settings_are_listed_with_their_values():
    with context(num_threads=2):
        assert list(settings) == list(settings.config) == list(DEFAULTS)
        assert settings.copy()["num_threads"] == 2
        assert "  num_threads = 2\n" in repr(settings)


def test_copy_of_the_settings_changes_nothing():
    settings.copy()["num_threads"] = 2
    settings.config["num_threads"] = 2

    assert threads() == 8


@CONTEXT
async def test_worker_thread_of_a_chain_inherits_the_context():
    with context(num_threads=2):
        assert await in_worker(threads) == 2


@CONTEXT
@pytest.mark.parametrize("call", ["sync", "async"])
async def test_tool_inherits_the_context(call):
    tool = Tool(threads)
    with context(num_threads=2):
        assert (tool() if call == "sync" else await tool.acall()) == 2


@CONTEXT
def test_chain_behind_the_door_inherits_the_context():
    async def chain():
        return threads()

    with context(num_threads=2):
        assert run(chain()) == 2


@CONTEXT
async def test_context_laid_by_a_chain_in_a_worker_thread_is_over_with_it():
    def layered_threads():
        with context(num_threads=3):
            return run(in_worker(threads))

    with context(num_threads=2):
        assert await in_worker(layered_threads) == 3
        assert threads() == 2


@SETTINGS
@pytest.mark.parametrize("name", KEYS)
def test_settings_of_dspy_can_be_read(name):
    assert name in settings
    assert settings[name] == getattr(settings, name) == settings.get(name, "missing")


@SETTINGS
def test_settings_offer_configure_and_context():
    settings.configure(num_threads=3)
    with settings.context(max_errors=1):
        assert (settings.num_threads, settings.max_errors) == (3, 1)

    assert settings.max_errors == 10


def test_callbacks_of_the_settings_can_be_added_to():
    configure(callbacks=[*settings.callbacks, "one"])
    configure(callbacks=settings.callbacks + ["two"])  # noqa: RUF005 - as programs for DSPy do

    assert (settings.callbacks, DEFAULTS["callbacks"]) == (["one", "two"], [])


class OfThisTest:
    def __eq__(self, other):
        return isinstance(other, OfThisTest)

    __hash__ = None


@STATE
def test_saved_settings_come_back_as_a_dict(tmp_path):
    with context(num_threads=2, my_own=OfThisTest()):
        settings.save(tmp_path / "settings.pkl", exclude_keys=["max_errors"])

    loaded = settings.load(tmp_path / "settings.pkl", allow_pickle=True)

    assert (loaded["num_threads"], loaded["my_own"]) == (2, OfThisTest())
    assert "max_errors" not in loaded
    assert threads() == 8


@STATE
def test_saved_settings_are_not_loaded_unless_it_is_allowed(tmp_path):
    settings.save(tmp_path / "settings.pkl")

    with pytest.raises(StateError, match="allow_pickle=True"):
        settings.load(tmp_path / "settings.pkl")


@STATE
def test_settings_that_cannot_be_saved_are_named_and_nothing_is_written(tmp_path):
    with (
        context(good=1, lock=threading.Lock()),
        pytest.raises(SavingError, match=r"in \['lock'\]") as caught,
    ):
        settings.save(tmp_path / "settings.pkl")

    assert "exclude_keys=['lock']" in caught.value.hint
    assert list(tmp_path.iterdir()) == []


@STATE
def test_saved_settings_can_be_read_by_their_owner_only(tmp_path):
    settings.save(tmp_path / "settings.pkl")

    assert stat.S_IMODE((tmp_path / "settings.pkl").stat().st_mode) == 0o600
