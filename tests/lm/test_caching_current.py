"""`configure_cache`, and `nbtool.cache`: configured, assigned, patched, taken away."""

from __future__ import annotations

import logging
import math
import sys
from pathlib import Path
from unittest import mock

import pytest

import nbtool
from nbtool.errors import LMConfigurationError
from nbtool.lm.caching import current
from nbtool.lm.caching.folder import default_folder
from nbtool.lm.caching.memory import Memory
from nbtool.testing.server import ScriptedServer

pytestmark = pytest.mark.api("configure_cache")

ASKED = {"model": "m", "prompt": "Capital?"}


# -- configure_cache -----------------------------------------------------------------------------


def test_cache_is_there_without_configuring(cache_folder):
    assert isinstance(nbtool.cache, nbtool.Cache)
    assert nbtool.cache is current.cache
    assert nbtool.cache.disk_cache_dir == str(cache_folder)


def test_folder_may_be_given(tmp_path):
    nbtool.configure_cache(disk_cache_dir=tmp_path / "mine")
    nbtool.cache.put(ASKED, "Paris")
    nbtool.cache.flush(30)

    assert (tmp_path / "mine" / "answers-1.sqlite3").exists()


def test_folder_of_the_environment_counts_when_it_is_needed(monkeypatch, tmp_path):
    nbtool.configure_cache()
    monkeypatch.setenv("NBTOOL_CACHE_DIR", str(tmp_path / "later"))

    assert nbtool.cache.disk_cache_dir == str(tmp_path / "later")


def test_without_the_disk_nothing_is_written(cache_folder):
    nbtool.configure_cache(enable_disk_cache=False)
    nbtool.cache.put(ASKED, "Paris")

    assert nbtool.cache.get(ASKED) == "Paris"
    assert nbtool.cache.flush()
    assert (nbtool.cache.disk_cache_dir, cache_folder.exists()) == (None, False)


def test_without_memory_answers_come_from_the_disk():
    nbtool.configure_cache(enable_memory_cache=False)
    nbtool.cache.put(ASKED, "Paris")

    assert (nbtool.cache.get(ASKED), len(nbtool.cache.memory_cache)) == ("Paris", 0)


async def test_without_both_every_call_is_a_request(connect):
    nbtool.configure_cache(enable_disk_cache=False, enable_memory_cache=False)
    async with ScriptedServer(["a", "b"]) as server:
        lm = connect(server)
        answers = [await lm.acall("x"), await lm.acall("x")]

    assert answers == [["a"], ["b"]]
    assert repr(nbtool.cache) == "<Cache: off>"


def test_arguments_may_stand_in_dspys_order(tmp_path):
    nbtool.configure_cache(True, True, str(tmp_path), 10**9, 7, True, [int])

    assert nbtool.cache.disk_cache_dir == str(tmp_path)
    assert nbtool.cache.memory_cache.max_entries == 7


@pytest.mark.parametrize("value", [0, -1, math.nan, "1"], ids=str)
@pytest.mark.parametrize("name", ["memory_max_entries", "disk_size_limit_bytes"])
def test_tier_of_no_size_is_refused_and_the_cache_stays(name, value):
    before = nbtool.cache
    with pytest.raises(LMConfigurationError, match=f"`{name}` must be a positive number"):
        nbtool.configure_cache(**{name: value})

    assert nbtool.cache is before


def test_memory_without_a_limit_is_written_as_infinite():
    with pytest.raises(ValueError, match=r"`memory_max_entries` cannot be None\."):
        nbtool.configure_cache(memory_max_entries=None)

    nbtool.configure_cache(memory_max_entries=math.inf, disk_size_limit_bytes=None)


def test_folder_is_the_one_it_was_when_it_was_given(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    nbtool.configure_cache(disk_cache_dir="mine")
    monkeypatch.chdir("/")

    assert nbtool.cache.disk_cache_dir == str(tmp_path / "mine")


async def test_answers_of_another_cache_are_not_seen(connect, tmp_path):
    async with ScriptedServer(["old", "new"]) as server:
        lm = connect(server)
        first = await lm.acall("x")
        nbtool.configure_cache(disk_cache_dir=tmp_path / "other")
        second = await lm.acall("x")

    assert (first, second) == (["old"], ["new"])


# -- nbtool.cache ----------------------------------------------------------------------------------


class Kept(dict):
    """A cache as users write it: synchronous, and it keeps the objects themselves."""

    def get(self, request, ignored=None):
        return super().get(request["messages"][0]["content"])

    def put(self, request, value, ignored=None, enable_memory_cache=True):
        self[request["messages"][0]["content"]] = value


class AsyncKept(Kept):
    async def get(self, request, ignored=None):
        return super().get(request)

    async def put(self, request, value, ignored=None, enable_memory_cache=True):
        super().put(request, value)


class Broken:
    def get(self, *args):
        raise OSError("no connection")

    put = get


@pytest.fixture
def given(monkeypatch):
    """Assign a cache as users do; it is gone after the test."""

    def assigned(cache):
        monkeypatch.setattr(current, "cache", None)  # undone by what it puts back
        nbtool.cache = cache
        return cache

    return assigned


@pytest.mark.parametrize("kind", [Kept, AsyncKept])
async def test_cache_that_was_assigned_is_asked(connect, given, kind):
    mine = given(kind())
    async with ScriptedServer(["Paris", "never"]) as server:
        lm = connect(server)
        asked, hit = [await lm.aforward("Capital?") for _ in range(2)]

    assert list(mine) == ["Capital?"]
    assert hit.choices[0].message.content == asked.choices[0].message.content == "Paris"
    assert (asked.usage.total_tokens, hit.usage, hit.cache_hit) == (2, {}, True)


async def test_cache_that_fails_costs_a_warning_only(connect, given, caplog):
    given(Broken())
    async with ScriptedServer(["Paris"]) as server:
        assert await connect(server).acall("Capital?") == ["Paris"]

    said = [record.getMessage() for record in caplog.records if record.name == "nbtool"]
    assert said == [f"Broken.{m} failed; the call goes on without." for m in ("get", "put")]


async def test_subclass_with_keys_of_its_own_is_asked_for_them(connect, given):
    class ByLength(nbtool.Cache):
        def cache_key(self, request, ignored_args_for_cache_key=None):
            return str(len(request["messages"][0]["content"]))

    given(ByLength())
    async with ScriptedServer(["of three", "of four"]) as server:
        lm = connect(server)
        answers = [await lm.acall(text) for text in ("one", "two", "four")]

    assert answers == [["of three"], ["of three"], ["of four"]]


async def test_subclass_with_a_method_of_its_own_is_asked_by_it(connect, given):
    class Always(nbtool.Cache):
        def get(self, request, ignored_args_for_cache_key=None):
            return {"choices": [{"message": {"content": "mine"}}], "usage": {"total_tokens": 9}}

    given(Always())
    async with ScriptedServer([]) as server:
        assert await connect(server).acall("x") == ["mine"]


async def test_patched_method_of_the_cache_is_called(connect):
    async with ScriptedServer(["Paris"]) as server:
        with mock.patch.object(nbtool.cache, "put") as put:
            await connect(server).acall("Capital?")

    (request, response, *_), _ = put.call_args
    assert request["messages"] == [{"role": "user", "content": "Capital?"}]
    assert not {"api_key", "api_base"} & set(request)
    assert response.choices[0].message.content == "Paris"


def test_name_can_be_patched_and_comes_back():
    before = nbtool.cache
    with mock.patch("nbtool.cache", new=Kept()):
        assert isinstance(current.cache_in_use(), Kept)

    assert nbtool.cache is current.cache_in_use() is before


@pytest.mark.parametrize("taken", ["assigned", "deleted"])
async def test_without_any_cache_every_call_is_a_request(connect, monkeypatch, taken):
    monkeypatch.setattr(current, "cache", None)
    if taken == "deleted":
        monkeypatch.delattr(nbtool, "cache")
    async with ScriptedServer(["a", "b"]) as server:
        lm = connect(server)
        assert [await lm.acall("x"), await lm.acall("x")] == [["a"], ["b"]]


def test_package_stays_a_module_with_one_cache():
    assert "cache" in dir(nbtool)
    assert sys.modules["nbtool"] is nbtool
    assert "cache" not in vars(nbtool)


# -- Cache by itself -------------------------------------------------------------------------------


async def test_cache_is_read_from_a_loop_too():
    cache = nbtool.Cache()
    cache.put(ASKED, "Paris")

    assert await cache.aget(ASKED) == "Paris"
    assert cache.get({**ASKED, "prompt": "other"}) is None
    assert cache.cache_key(ASKED) in cache
    assert "no such key" not in cache


def test_names_that_do_not_count_are_the_callers_choice():
    cache = nbtool.Cache()
    cache.put({"a": 1, "api_key": "one"}, "kept")

    assert cache.get({"a": 1, "api_key": "two"}) is None
    assert cache.get({"a": 1, "api_key": "two"}, ["api_key"]) is None
    cache.put({"a": 1, "api_key": "one"}, "kept", ["api_key"])
    assert cache.get({"a": 1, "api_key": "two"}, ["api_key"]) == "kept"


def test_value_for_the_disk_alone_is_not_in_memory():
    cache = nbtool.Cache()
    cache.put(ASKED, "Paris", enable_memory_cache=False)

    assert len(cache.memory_cache) == 0
    assert cache.get(ASKED) == "Paris"
    assert len(cache.memory_cache) == 1


def test_request_without_a_key_is_said_once(caplog):
    caplog.set_level(logging.DEBUG, "nbtool")
    cache = nbtool.Cache()
    for _ in range(3):
        cache.put({"a": print, "b": "for this test"}, "kept")

    assert cache.get({"a": print, "b": "for this test"}) is None
    assert len(cache.memory_cache) == 0
    assert caplog.text.count("is not cached") <= 1


def test_least_recently_used_entry_makes_room():
    cache = nbtool.Cache(enable_disk_cache=False, memory_max_entries=2)
    for name in "ab":
        cache.put({"of": name}, name)
    cache.get({"of": "a"})
    cache.put({"of": "c"}, "c")

    assert [cache.get({"of": name}) for name in "abc"] == ["a", None, "c"]


def test_memory_is_bounded_by_entries():
    memory = Memory(100)
    for n in range(1000):
        memory.put(str(n), n)

    assert (len(memory), memory.items()[0], memory.get("899")) == (100, ("900", 900), None)


@pytest.mark.parametrize(
    ("environ", "platform", "folder"),
    [
        pytest.param({"NBTOOL_CACHE_DIR": "/x"}, "win32", "/x", id="given"),
        pytest.param({"NBTOOL_CACHE_DIR": "~/x"}, "linux", "~/x", id="in the home"),
        pytest.param({}, "linux", "~/.cache/nbtool", id="linux"),
        pytest.param({"XDG_CACHE_HOME": "/c"}, "linux", "/c/nbtool", id="xdg"),
        pytest.param({"XDG_CACHE_HOME": "c"}, "linux", "~/.cache/nbtool", id="relative xdg"),
        pytest.param({}, "darwin", "~/Library/Caches/nbtool", id="mac"),
        pytest.param({"LOCALAPPDATA": "/l"}, "win32", "/l/nbtool/Cache", id="windows"),
        pytest.param({"DSPY_CACHEDIR": "/d"}, "linux", "~/.cache/nbtool", id="dspys"),
    ],
)
def test_folder_is_where_the_system_keeps_caches(environ, platform, folder):
    assert default_folder(environ, platform) == Path(folder).expanduser()
