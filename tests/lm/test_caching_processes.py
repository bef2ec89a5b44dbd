"""Several programs and one file; ends of programs; forks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import time

import pytest

from nbtool.lm.caching.tiers import Cache
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

pytestmark = [pytest.mark.api("LM.cache"), pytest.mark.api("configure_cache")]

FILE = "answers-1.sqlite3"


def check(folder):
    with contextlib.closing(sqlite3.connect(folder / FILE)) as connection:
        return connection.execute("PRAGMA integrity_check").fetchone()[0]


@contextlib.contextmanager
def program(source, *args):
    """Run a program beside this one; it is killed in the end."""
    command = [sys.executable, "-c", source, *map(str, args)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:  # noqa: S603 - our own source
        yield process
        with contextlib.suppress(ProcessLookupError):
            process.kill()


WRITE_ON = """
import itertools, sys, nbtool
for n in itertools.count():
    nbtool.cache.put({"of": sys.argv[1], "n": n}, f"{sys.argv[1]} {n} " + "x" * 5000)
    if n % 20 == 0:
        nbtool.cache.flush(60)
        print(n, flush=True)
"""


@contextlib.contextmanager
def locked(folder, mode="IMMEDIATE"):
    """Keep all others from writing, as a program that hangs would."""
    with contextlib.closing(sqlite3.connect(folder / FILE, isolation_level=None)) as connection:
        connection.execute(f"BEGIN {mode}")
        yield
        connection.execute("COMMIT")


def lines_of(process, count):
    return [process.stdout.readline() for _ in range(count)]


@pytest.mark.parametrize("number", range(3))
def test_program_that_is_killed_in_the_middle_spoils_nothing(cache_folder, number):
    with program(WRITE_ON, "victim") as victim, program(WRITE_ON, "survivor") as survivor:
        lines_of(victim, 10 + number)
        lines_of(survivor, 10)
        victim.send_signal(signal.SIGKILL)
        victim.wait(60)
        (last,) = lines_of(survivor, 20)[-1:]

    reader = Cache(enable_memory_cache=False)
    found = [reader.get({"of": "survivor", "n": n}) for n in range(int(last) + 1)]
    assert [text.split()[1] for text in found] == [str(n) for n in range(int(last) + 1)]
    assert reader.get({"of": "victim", "n": 20 * (9 + number)}).startswith("victim ")
    assert check(cache_folder) == "ok"


def test_programs_read_what_others_write(cache_folder):
    source = """
import sys, nbtool
for n in map(int, sys.stdin):
    print(nbtool.cache.get({"n": n}), flush=True)
    nbtool.cache.put({"n": n + 1}, "from the program")
    nbtool.cache.flush(60)
    print("written", flush=True)
"""
    cache = Cache(enable_memory_cache=False)
    with program(source) as other:
        cache.put({"n": 1}, "from here")
        cache.flush(30)
        other.stdin.write(b"1\n")
        other.stdin.flush()
        assert lines_of(other, 2) == [b"from here\n", b"written\n"]

    assert cache.get({"n": 2}) == "from the program"


def test_programs_that_start_on_a_damaged_file_all_go_on(cache_folder):
    cache_folder.mkdir()
    (cache_folder / FILE).write_bytes(b"no database " * 1000)
    with program(WRITE_ON, 1) as one, program(WRITE_ON, 2) as two, program(WRITE_ON, 3) as three:
        assert [lines_of(each, 5)[-1] for each in (one, two, three)] == [b"80\n"] * 3

    assert check(cache_folder) == "ok"


def test_second_run_of_a_program_asks_nothing(run):
    source = """
        import os, nbtool
        lm = nbtool.LM("openai/test", api_base=os.environ["BASE"], api_key="sk-" + "a1" * 10)
        print(lm("Capital?"), lm.history[0]["usage"])
    """
    with ScriptedServer(["Paris"]) as server:
        first, second = (run(source, BASE=server.base_url) for _ in range(2))

    assert (first.stderr, second.stderr) == ("", "")
    assert first.stdout.startswith("['Paris'] {'prompt_tokens': ")
    assert second.stdout == "['Paris'] {}\n"


def test_end_of_a_program_writes_what_is_left(run, cache_folder):
    said = run(
        """
        import nbtool
        for n in range(300):
            nbtool.cache.put({"n": n}, "x" * 1000)
        """
    )

    assert (said.returncode, said.stderr) == (0, "")
    assert [file.name for file in cache_folder.iterdir()] == [FILE]  # closed in good order
    assert all(Cache().get({"n": n}) for n in range(300))


def test_end_of_a_program_does_not_wait_long_for_a_locked_file(run, cache_folder):
    Cache().put({"n": 0}, "x")
    source = 'import nbtool; nbtool.cache.put({"n": 1}, "x"); print(nbtool.cache.flush(0.5))'
    with wait_for_file(cache_folder), locked(cache_folder):
        started = time.perf_counter()
        said = run(source)
        took_s = time.perf_counter() - started

    assert (said.returncode, said.stdout, said.stderr) == (0, "False\n", "")
    assert took_s < 30


@contextlib.contextmanager
def wait_for_file(folder):
    cache = Cache()
    cache.put({"n": 0}, "x")
    assert cache.flush(30)
    yield


async def test_answers_are_read_while_another_program_keeps_us_from_writing(cache_folder):
    cache = Cache(enable_memory_cache=False)
    cache.put({"n": 1}, "one")
    cache.flush(30)
    with locked(cache_folder):
        cache.put({"n": 2}, "two")
        found = [await cache.aget({"n": n}) for n in (1, 2, 3)]
        was_written = cache.flush(0.3)

    assert (found, was_written) == (["one", "two", None], False)
    assert cache.flush(30)


async def test_loop_goes_on_while_another_program_locks_the_file(cache_folder):
    cache = Cache(enable_memory_cache=False)
    cache.put({"n": 1}, "one")
    cache.flush(30)
    cache._disk.end(30)
    ticks = []

    async def tick():
        while True:
            ticks.append(time.perf_counter())
            await asyncio.sleep(0.01)

    with contextlib.closing(sqlite3.connect(cache_folder / FILE)) as connection:
        connection.execute("PRAGMA locking_mode = EXCLUSIVE")
        connection.execute("BEGIN EXCLUSIVE")
        ticker = asyncio.create_task(tick())
        assert await Cache(enable_memory_cache=False).aget({"n": 1}) is None
        ticker.cancel()

    assert len(ticks) >= 5


def test_import_opens_nothing_and_starts_no_thread(run, cache_folder):
    said = run(
        """
        import threading, nbtool
        print(nbtool.cache, threading.active_count())
        nbtool.configure_cache(memory_max_entries=5)
        nbtool.request_cache()(len)
        print(nbtool.cache, threading.active_count())
        """
    )

    shown = f"<Cache: 0 in memory, disk '{cache_folder / FILE}'> 1"
    assert said.stdout.splitlines() == [shown, shown]
    assert not cache_folder.exists()


FORK = """
import os, sys, warnings, nbtool
warnings.simplefilter("ignore", DeprecationWarning)  # of 3.12: our thread does not mind
cache = nbtool.Cache(enable_memory_cache=False)

def said(who, count):
    for n in range(count):
        cache.put({"of": who, "n": n}, f"{who} {n}")
    assert cache.flush(60)

said("parent before", 20)
children = []
for child in range(4):
    pid = os.fork()
    if pid == 0:
        assert cache.get({"of": "parent before", "n": 7}) == "parent before 7"
        said(f"child {child}", 100)
        sys.exit(0)
    children.append(pid)
    said(f"parent {child}", 100)
codes = [os.waitpid(pid, 0)[1] for pid in children]
found = [cache.get({"of": f"{who} {n}", "n": 99}) for who in ("child", "parent") for n in range(4)]
print(codes, all(found))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_forked_children_and_their_parent_share_the_file(run, cache_folder):
    said = run(FORK)

    assert (said.stdout, said.stderr) == ("[0, 0, 0, 0] True\n", "")
    assert check(cache_folder) == "ok"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_child_keeps_its_answers_when_its_parent_has_ended(run, cache_folder):
    said = run(
        """
        import os, time, warnings, nbtool
        warnings.simplefilter("ignore", DeprecationWarning)
        nbtool.cache.put({"of": "parent"}, "x")
        nbtool.cache.flush(60)
        if os.fork() == 0:
            nbtool.cache.put({"n": 1}, "of the child")
            nbtool.cache.flush(60)
            while os.getppid() == PARENT:
                time.sleep(0.01)
            nbtool.cache.put({"n": 2}, "of the orphan")
        """.replace("PARENT", "parent").replace(
            "import os,", "import os; parent = os.getpid(); import"
        )
    )

    assert said.stderr == ""
    assert (Cache().get({"n": 1}), Cache().get({"n": 2})) == ("of the child", "of the orphan")
    assert check(cache_folder) == "ok"


def test_fork_in_the_middle_of_writing_hangs_nobody(run):
    said = run(
        """
        import os, sys, threading, warnings, nbtool
        warnings.simplefilter("ignore", DeprecationWarning)
        is_over = False
        nbtool.cache  # its import must not be under way in another thread during a fork

        def write():
            n = 0
            while not is_over:
                n += 1
                nbtool.cache.put({"n": n % 500}, "x" * 5000)

        writer = threading.Thread(target=write)
        writer.start()
        codes = []
        for child in range(20):
            pid = os.fork()
            if pid == 0:
                nbtool.cache.put({"of": child}, "x")
                os._exit(0 if nbtool.cache.flush(60) else 1)
            codes.append(os.waitpid(pid, 0)[1])
        is_over = True
        writer.join()
        print(codes, [nbtool.Cache().get({"of": n}) for n in range(20)])
        """
    )

    assert (said.stdout, said.stderr) == (f"{[0] * 20} {['x'] * 20}\n", "")


async def test_answer_takes_no_longer_than_without_a_disk_that_hangs(connect, cache_folder):
    Cache().put({"n": 0}, "x")
    async with ScriptedServer([Answer("Paris")]) as server:
        lm = connect(server)
        with wait_for_file(cache_folder), locked(cache_folder):
            assert await asyncio.wait_for(lm.acall("Capital?"), 30) == ["Paris"]
