"""The cache's file: what it keeps, and whatever befalls it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sqlite3
import stat
import tempfile
import threading
from pathlib import Path

import pytest

import nbtool
from nbtool.lm.caching.disk import Disk
from nbtool.lm.caching.entries import entry_of
from nbtool.lm.caching.tiers import Cache
from nbtool.testing.server import ScriptedServer

pytestmark = [pytest.mark.api("LM.cache"), pytest.mark.api("configure_cache")]

FILE = "answers-1.sqlite3"
ASKED = {"model": "m", "messages": [{"role": "user", "content": "Capital?"}]}


def on_disk(folder, **options):
    """Make a cache without memory, so that each answer comes from the file."""
    return Cache(disk_cache_dir=folder, enable_memory_cache=False, **options)


def kept_by(folder, **answers):
    """Let another cache write answers, and close the file."""
    disk = Disk(folder, 10**9)
    for key, answer in answers.items():
        disk.write(key, entry_of(answer))
    disk.end(30)


def check(folder):
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


def rows_of(folder):
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        return connection.execute("SELECT count(*) FROM answers").fetchone()[0]


def test_nothing_is_made_before_the_first_answer(cache_folder):
    cache = Cache()
    cache.get(ASKED)
    cache.put(ASKED, None)
    cache.flush()

    assert not cache_folder.exists()


@pytest.mark.parametrize(
    "value",
    ["text \ud800 \0", {"a": [1, 2.5, None]}, 0, "x" * 10**7],
    ids=["text", "dict", "0", "10 MB"],
)
def test_another_program_gets_the_answer(cache_folder, value):
    cache = Cache()
    cache.put(ASKED, value)
    cache.flush()

    assert Cache().get(ASKED) == value
    assert cache.disk_cache_dir == str(cache_folder)


def test_answer_that_was_not_written_yet_is_there_already(cache_folder):
    cache = on_disk(cache_folder)
    cache.put(ASKED, "Paris")

    assert cache.get(ASKED) == "Paris"


def test_later_answer_takes_the_place_of_the_earlier(cache_folder):
    cache = on_disk(cache_folder)
    cache.put(ASKED, "Lyon")
    cache.put(ASKED, "Paris")
    cache.flush()

    assert Cache().get(ASKED) == "Paris"


def test_values_without_a_json_form_stay_in_memory(cache_folder):
    cache = Cache()
    cache.put(ASKED, (1, 2))
    cache.flush()

    assert (cache.get(ASKED), Cache().get(ASKED)) == ((1, 2), None)


def test_folder_and_files_are_for_their_owner_only(cache_folder):
    cache = Cache()
    cache.put(ASKED, "Paris")
    cache.flush()
    modes = {f.name: stat.S_IMODE(f.stat().st_mode) for f in cache_folder.iterdir()}

    assert stat.S_IMODE(cache_folder.stat().st_mode) == 0o700
    assert modes == {FILE: 0o600, f"{FILE}-wal": 0o600, f"{FILE}-shm": 0o600}


async def test_nothing_of_a_request_is_in_the_files(connect, cache_folder, api_key):
    async with ScriptedServer(["Paris"]) as server:
        headers = {"x-session": "header-secret-0123"}
        await connect(server, extra_headers=headers).acall("question-0123")
    nbtool.cache.flush(30)
    written = b"".join(file.read_bytes() for file in cache_folder.iterdir())

    assert b"Paris" in written
    assert not any(t in written for t in (api_key.encode(), b"header-secret", b"question-0123"))


def test_many_threads_may_use_one_cache(cache_folder):
    cache, wrong = on_disk(cache_folder), []

    def work(name):
        for n in range(50):
            cache.put({"of": name, "n": n}, f"{name} {n}")
        found = [cache.get({"of": name, "n": n}) for n in range(50)]
        wrong.extend(text for n, text in enumerate(found) if text != f"{name} {n}")

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert wrong == []
    assert cache.flush(30)
    assert rows_of(cache_folder) == 400


async def test_reader_that_is_cancelled_does_not_disturb_the_others(cache_folder):
    kept_by(cache_folder, a="1", b="2")
    disk = Disk(cache_folder, 10**9)
    readers = [asyncio.ensure_future(disk.read(key)) for key in ("a", "b")]
    await asyncio.sleep(0)
    readers[0].cancel()

    assert (await readers[1]).read() == "2"


def test_thread_that_nobody_needs_closes_the_file_and_ends(cache_folder):
    disk = Disk(cache_folder, 10**9, idle_s=0.5)
    disk.write("a", entry_of("1"))
    disk._thread.join(60)

    assert sorted(file.name for file in cache_folder.iterdir()) == [FILE]
    assert asyncio.run(disk.read("a")).read() == "1"


# -- damage --------------------------------------------------------------------------------------


def overwritten(file):
    file.write_bytes(b"This is no database, and was never one. " * 500)


def cut(file):
    file.write_bytes(file.read_bytes()[:5000])


def scrambled(file):
    kept = file.read_bytes()
    file.write_bytes(kept[:100] + bytes(byte ^ 0x5A for byte in kept[100:]))


def without_table(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("DROP TABLE answers")


def of_another_version(file):
    with contextlib.closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA user_version = 99")


DAMAGES = [overwritten, cut, scrambled, without_table, of_another_version]


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damaged_file_is_moved_aside_and_said_once(cache_folder, caplog, damage):
    kept_by(cache_folder, **{f"k{n}": "x" * 3000 for n in range(50)})
    damage(cache_folder / FILE)
    cache = on_disk(cache_folder)
    answers = [cache.get(ASKED), cache.put(ASKED, "Paris"), cache.flush(30), cache.get(ASKED)]

    assert answers == [None, None, True, "Paris"]
    assert (cache_folder / f"{FILE}.damaged-1").exists()
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"moved to {FILE}.damaged-1" in caplog.text
    assert check(cache_folder) == "ok"


@pytest.mark.parametrize("damage", [overwritten, scrambled], ids=lambda damage: damage.__name__)
def test_file_that_is_damaged_while_it_is_open_is_replaced(cache_folder, damage):
    cache = on_disk(cache_folder)
    for n in range(50):
        cache.put({"n": n}, "x" * 3000)
    cache.flush(30)
    damage(cache_folder / FILE)
    for n in range(50):
        cache.put({"n": n}, "anew")
    cache.flush(30)

    assert on_disk(cache_folder).get({"n": 7}) == "anew"
    assert check(cache_folder) == "ok"


def test_second_damage_gets_a_name_of_its_own(cache_folder):
    cache_folder.mkdir()
    (cache_folder / f"{FILE}.damaged-1").write_text("kept")
    overwritten(cache_folder / FILE)
    on_disk(cache_folder).get(ASKED)

    assert (cache_folder / f"{FILE}.damaged-1").read_text() == "kept"
    assert (cache_folder / f"{FILE}.damaged-2").exists()


@pytest.mark.parametrize(
    ("kind", "body"),
    [("value", b'{"cut'), ("pickle", b"x"), ("response", b'{"choices": []}'), ("response", b"7")],
    ids=["cut", "other kind", "no choices", "no response"],
)
def test_answer_that_cannot_be_read_is_asked_for_again(cache_folder, kind, body):
    kept_by(cache_folder, some="answer")
    cache = on_disk(cache_folder)
    row = (cache.cache_key(ASKED), kind, body, 0)
    with contextlib.closing(sqlite3.connect(cache_folder / FILE)) as connection, connection:
        connection.execute("INSERT INTO answers VALUES (?, ?, ?, ?)", row)

    assert cache.get(ASKED) is None
    cache.put(ASKED, "Paris")
    assert cache.flush(30)
    assert on_disk(cache_folder).get(ASKED) == "Paris"


def test_file_that_was_deleted_meanwhile_is_made_again(cache_folder):
    cache = on_disk(cache_folder)
    cache.put({"n": 1}, "before")
    cache.flush(30)
    for file in cache_folder.iterdir():
        file.unlink()
    cache_folder.rmdir()
    cache.put({"n": 2}, "after")
    cache.flush(30)

    assert [on_disk(cache_folder).get({"n": n}) for n in (1, 2)] == [None, "after"]


# -- where nothing can be written ----------------------------------------------------------------


def test_without_a_usable_folder_memory_goes_on_and_it_is_said_once(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    cache = Cache(disk_cache_dir=tmp_path / "file" / "folder")
    for n in range(3):
        cache.put({"n": n}, n)
        cache.flush(30)

    assert [cache.get({"n": n}) for n in range(3)] == [0, 1, 2]
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "NBTOOL_CACHE_DIR" in caplog.text


@pytest.fixture
def locked_folder():
    """A folder with one answer, in which this program may write nothing."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        kept_by(folder, **{on_disk(folder).cache_key(ASKED): "Paris"})
        (folder / FILE).chmod(0o444)
        folder.chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:  # whom modes do not stop
            os.seteuid(65534)
        yield folder
        if is_root:
            os.seteuid(0)
        folder.chmod(0o755)


def test_folder_that_may_not_be_written_to_costs_the_disk_only(locked_folder, caplog):
    cache = Cache(disk_cache_dir=locked_folder)
    cache.put({"n": 1}, "new")
    cache.flush(30)
    cache.put({"n": 2}, "newer")
    cache.flush(30)

    assert (cache.get({"n": 1}), cache.get({"n": 2})) == ("new", "newer")
    assert [record.levelname for record in caplog.records] == ["WARNING"]


def test_file_that_may_not_be_written_to_is_still_read(locked_folder, caplog):
    os.seteuid(os.getuid())
    locked_folder.chmod(0o777)  # sqlite keeps a lock beside it
    os.seteuid(65534 if os.getuid() == 0 else os.getuid())
    cache = Cache(disk_cache_dir=locked_folder)
    cache.put({"n": 1}, "new")
    cache.flush(30)

    assert (cache.get(ASKED), cache.get({"n": 1})) == ("Paris", "new")
    assert "What is there is still read." in caplog.text


def test_without_a_home_memory_goes_on(run):
    said = run(
        """
        import logging, os, nbtool
        for name in ("NBTOOL_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
            os.environ.pop(name, None)
        os.getuid = lambda: 2**31 - 7  # a user whom the system does not know, as in containers
        nbtool.cache.put({"a": 1}, "x")
        print(nbtool.cache.get({"a": 1}), nbtool.cache.disk_cache_dir)
        """
    )

    assert said.stdout == "x None\n"
    assert said.stderr.count("Answers are cached in memory only") == 1


def test_full_disk_is_said_once_and_what_is_there_is_read(run, cache_folder):
    kept_by(cache_folder, **{on_disk(cache_folder).cache_key({"n": -1}): "old"})
    said = run(
        """
        import resource, nbtool
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        for n in range(100):
            nbtool.cache.put({"n": n}, "x" * 10_000)
            nbtool.cache.flush(30)
        print({len(nbtool.cache.get({"n": n})) for n in range(100)}, nbtool.cache.get({"n": -1}))
        """
    )

    assert said.stdout in {"{10000} old\n", "{10000} None\n"}
    assert said.stderr.count("answers are kept in") == 1
    assert check(cache_folder) == "ok"


# -- size ----------------------------------------------------------------------------------------


def size_of(folder):
    return (folder / FILE).stat().st_size


def test_oldest_answers_go_where_the_file_gets_too_large(cache_folder):
    cache = on_disk(cache_folder, disk_size_limit_bytes=500_000)
    for n in range(200):
        cache.put({"n": n}, "x" * 10_000)
        cache.flush(30)
    kept = [n for n in range(200) if cache.get({"n": n})]

    assert kept == list(range(kept[0], 200))
    assert 30 < len(kept) < 50
    kept_by(cache_folder)  # plays the log into the file
    assert size_of(cache_folder) <= 600_000


def test_answers_that_were_read_lately_stay(cache_folder):
    cache = on_disk(cache_folder, disk_size_limit_bytes=500_000)
    for n in range(30):
        cache.put({"n": n}, "x" * 10_000)
    cache.flush(30)
    with contextlib.closing(sqlite3.connect(cache_folder / FILE)) as connection, connection:
        connection.execute("UPDATE answers SET used_s = used_s - 1000")
    cache.get({"n": 0})
    for n in range(30, 60):
        cache.put({"n": n}, "x" * 10_000)
        cache.flush(30)

    assert [n for n in (0, 1, 2, 59) if cache.get({"n": n})] == [0, 59]


def test_lower_limit_makes_the_file_smaller(cache_folder):
    kept_by(cache_folder, **{f"k{n}": "x" * 10_000 for n in range(100)})
    before = size_of(cache_folder)
    cache = on_disk(cache_folder, disk_size_limit_bytes=200_000)
    cache.put(ASKED, "Paris")
    cache.flush(30)
    cache._disk.end(30)

    assert (before > 1_000_000, size_of(cache_folder) <= 200_000) == (True, True)
    assert on_disk(cache_folder).get(ASKED) == "Paris"


def test_room_is_made_in_portions_until_the_limit_holds(cache_folder):
    kept_by(cache_folder, **{f"k{n}": "x" * 100_000 for n in range(120)})
    disk = Disk(cache_folder, 1_000_000, idle_s=0.5)
    disk.write("new", entry_of("Paris"))
    disk._thread.join(60)

    assert size_of(cache_folder) <= 1_000_000
    assert asyncio.run(disk.read("k119")).read() == "x" * 100_000
    assert asyncio.run(disk.read("new")).read() == "Paris"


def test_answer_that_is_larger_than_the_limit_pushes_out_nothing(cache_folder):
    cache = on_disk(cache_folder, disk_size_limit_bytes=100_000)
    cache.put({"n": 1}, "small")
    cache.put({"n": 2}, "x" * 200_000)
    cache.flush(30)

    assert (cache.get({"n": 1}), cache.get({"n": 2})) == ("small", None)


def test_without_a_limit_everything_stays(cache_folder):
    cache = on_disk(cache_folder, disk_size_limit_bytes=None)
    for n in range(200):
        cache.put({"n": n}, "x" * 10_000)

    assert cache.flush(30)
    assert rows_of(cache_folder) == 200
