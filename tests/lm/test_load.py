"""Many calls at once: few connections, little memory, nothing left over."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys

import pytest

SERVE = """
import json, sys
from nbtool.testing import ScriptedServer
with ScriptedServer(default="x") as server:
    print(server.base_url, flush=True)
    sys.stdin.readline()
    counts = [len(server.requests), server.connections_peak, server.connections_open]
print(json.dumps(counts), flush=True)
"""
CALL = """
import asyncio, json, os, psutil, threading, nbtool
me = psutil.Process()

async def main(calls):
    lm = nbtool.LM("openai/test", api_base=os.environ["BASE"], api_key="sk-" + "a1" * 10)
    await lm.acall("warm up")
    await asyncio.sleep(1.5)
    baseline = most = me.memory_info().rss

    async def watch():
        nonlocal most
        while True:
            most = max(most, me.memory_info().rss)
            await asyncio.sleep(0.05)

    watcher = asyncio.create_task(watch())
    answers = await asyncio.gather(*(lm.acall(f"q{n}") for n in range(calls)))
    watcher.cancel()
    await asyncio.sleep(0.1)
    names = [t.get_coro().__qualname__ for t in asyncio.all_tasks() - {asyncio.current_task()}]
    print(json.dumps([len(answers), (most - baseline) / 1e6, names]))

asyncio.run(main(int(os.environ["CALLS"])))
threads = [t.name for t in threading.enumerate() if t is not threading.main_thread()]
print(json.dumps([threads, len(me.net_connections())]))
"""


@pytest.fixture
def server():
    """A server in a process of its own: its address, and a function that stops and counts."""
    command = [sys.executable, "-c", SERVE]
    with subprocess.Popen(  # noqa: S603 - our own interpreter and source
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:

        def counts():
            process.stdin.write("\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield process.stdout.readline().strip(), counts
        with contextlib.suppress(ProcessLookupError):
            process.kill()


@pytest.mark.timeout(900)  # half a minute on a quiet machine
def test_ten_thousand_calls_at_once_share_the_pool_and_leave_nothing(run, server):
    base_url, counts = server
    said = run(CALL, timeout_s=800, BASE=base_url, CALLS="10000")
    (answers, extra_mb, tasks), (threads, sockets) = map(json.loads, said.stdout.splitlines())
    requests, connections, still_open = counts()

    assert (answers, requests, said.stderr) == (10_000, 10_001, "")
    assert (connections <= 100, extra_mb < 400) == (True, True)
    # litellm's own: one for each loop, and what it has not written down yet.
    assert {name.partition(".")[0] for name in tasks} == {"LoggingWorker"}
    assert threads == ["nbtool-disk-cache"]  # it ends when nobody needs it for a while
    assert (sockets, still_open) == (0, 0)
