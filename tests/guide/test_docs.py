"""What the documentation shows runs, and what it promises to have is there."""

from __future__ import annotations

import importlib
import json
import pkgutil
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

import nbtool
from nbtool.errors import NbtoolError
from nbtool.testing.answers import Answer
from nbtool.testing.server import ScriptedServer

DOCS = Path(__file__).resolve().parents[2] / "docs"
TEXT = "[[ ## reasoning ## ]]\nIt is so.\n\n[[ ## answer ## ]]\n{}\n\n[[ ## completed ## ]]"


def blocks_of(page):
    return re.findall(r"```python\n(.*?)```", (DOCS / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", ["index.md", "tour.md", "porting.md"])
def test_the_blocks_of_a_page_are_a_program_that_runs(page, tmp_path, fresh):
    file = tmp_path / "page.py"
    file.write_text("\n".join(blocks_of(page)))
    done = subprocess.run(  # noqa: S603 - our own pages
        [sys.executable, "-m", "nbtool", "run", "--no-tree", str(file)],
        env=fresh, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_each_code_of_an_error_has_an_anchor(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    page = importlib.import_module("generated").errors_page()
    for module in pkgutil.walk_packages(nbtool.__path__, "nbtool."):
        if "__main__" not in module.name:
            importlib.import_module(module.name)
    waiting = [NbtoolError]
    for kind in waiting:
        waiting += [below for below in kind.__subclasses__() if "nbtool" in below.__module__]
    codes = {kind.code for kind in waiting}
    anchors = re.findall(r"^\((\w+)\)=$", page, re.MULTILINE)
    assert codes <= set(anchors)
    assert len(anchors) == len(set(anchors))


def test_the_reference_has_every_public_name(monkeypatch):
    monkeypatch.syspath_prepend(str(DOCS))
    generated = importlib.import_module("generated")
    page = generated.reference() + generated.errors_page()
    names = set(nbtool.__all__) - {"__version__"}
    assert [name for name in names if not re.search(rf"\b{name}\b", page)] == []


@pytest.fixture
def slow():
    before, word, after = TEXT.format("Paris is a city").partition("Paris is")
    chunks = [before + word, after]
    with ScriptedServer(
        by_prompt={"long": Answer(chunks=chunks, chunk_delay_s=4.0)},
        default=Answer(TEXT.format("Paris")),
    ) as server:
        yield server


@pytest.fixture
def service(slow, fresh):
    """Serve the example under uvicorn; returns its process and its address."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
    given = {"MODEL": "openai/x", "OPENAI_API_BASE": slow.base_url, "OPENAI_API_KEY": "any"}
    loop = "uvloop" if sys.platform != "win32" else "asyncio"
    command = [sys.executable, "-m", "uvicorn", "service:app", "--port", str(port), "--loop", loop]
    with subprocess.Popen(  # noqa: S603 - our own example
        command, cwd=DOCS / "examples", env={**fresh, **given}, stderr=subprocess.PIPE
    ) as started:
        address = f"http://127.0.0.1:{port}"
        wait_until(lambda: answers(address))
        yield started, address
        started.kill()


def answers(address):
    try:
        with urllib.request.urlopen(f"{address}/openapi.json", timeout=5):  # noqa: S310
            return True
    except OSError:
        return False


def wait_until(condition, limit_s=60):
    deadline_s = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.05)


def test_the_service_answers_streams_and_ends(service, slow):
    started, address = service
    with urllib.request.urlopen(f"{address}/answer?question=x", timeout=30) as reply:  # noqa: S310
        assert json.load(reply) == {"answer": "Paris"}
    with urllib.request.urlopen(f"{address}/stream?question=y", timeout=30) as reply:  # noqa: S310
        said = reply.read().decode()
    assert '"chunk": "Paris"' in said
    assert said.endswith("data: [DONE]\n\n")

    started.send_signal(signal.SIGINT)
    assert started.wait(timeout=20) in (0, -signal.SIGINT)
    assert b"Traceback" not in started.stderr.read()


def test_a_client_that_leaves_ends_the_request_to_the_provider(service, slow):
    _, address = service
    reply = urllib.request.urlopen(f"{address}/stream?question=long", timeout=30)  # noqa: S310
    assert b"data: " in reply.readline()
    assert slow.aborted == 0
    reply.close()
    wait_until(lambda: slow.aborted == 1, limit_s=10)
