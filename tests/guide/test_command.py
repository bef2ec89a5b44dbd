"""The `nbtool` command, as a program of its own."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from nbtool.testing.answers import Failure
from nbtool.testing.server import ScriptedServer
from nbtool.tracing.decorator import traced
from nbtool.views.watching import trace


@pytest.fixture(scope="session")
def nbtool(fresh):
    """Run the command; colours and wrapping are off."""

    def command(*arguments, **env):
        return subprocess.run(  # noqa: S603 - our own interpreter and sources
            [sys.executable, "-m", "nbtool", *map(str, arguments)],
            env={**fresh, "NO_COLOR": "1", "TERM": "dumb", **env},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return command


@pytest.fixture
def saved(tmp_path):
    @traced
    def double(x):
        return 2 * x

    path = tmp_path / "trace.jsonl"
    with trace() as recorded:
        double(21)
    recorded.save(path)
    return path


@pytest.fixture(scope="module")
def demo(nbtool, provider, on_provider):
    """What the demo said, and what it asked."""
    before = len(provider.requests)
    said = nbtool("demo", **on_provider(provider))
    return said, provider.requests[before:]


def test_demo_runs_the_guides_programs_and_shows_their_steps(demo):
    said, _ = demo

    assert said.returncode == 0, said.stdout + said.stderr
    assert "All 5 programs ran right" in said.stdout
    shown = ["1_predict.py", "foo got 2", "double gave 10", "MyModule", "get_weather"]
    assert [text in said.stdout for text in shown] == [True] * 5
    assert "await predict.acall" in said.stdout
    assert said.stderr == ""


def test_demo_streams_its_answers(demo):
    _, requests = demo

    assert {request.streamed for request in requests} == {True}


def test_demo_asks_the_model_each_time(nbtool, provider, on_provider, demo):
    before, variables = len(provider.requests), on_provider(provider)
    nbtool("demo", "--no-source", **variables)
    nbtool("demo", "--no-source", **variables)

    assert len(provider.requests) - before == 2 * len(demo[1])


def test_demo_on_a_model_that_answers_nonsense_says_which_went_wrong(nbtool, on_provider):
    with ScriptedServer(default="I like trains.") as server:
        said = nbtool("demo", "--no-source", **on_provider(server))

    assert said.returncode == 3
    assert "3 of 5 went wrong: 1_predict, 4_custom_module, 5_react" in said.stdout
    assert "AdapterParseError" in said.stdout
    assert "Traceback" not in said.stdout + said.stderr


def test_help_names_the_commands(nbtool):
    said = nbtool("--help")

    assert (said.returncode, said.stderr) == (0, "")
    assert "demo" in said.stdout
    assert "show" in said.stdout


def test_show_draws_a_saved_trace(nbtool, saved):
    said = nbtool("show", saved)

    assert (said.returncode, said.stderr) == (0, "")
    assert "trace  1 step" in said.stdout
    assert "double  function" in said.stdout
    assert "42" in said.stdout


def test_show_draws_what_is_left_of_a_cut_file(nbtool, saved):
    with saved.open("a") as file:
        file.write('{"event": "span", "id"')
    said = nbtool("show", saved)

    assert said.returncode == 0
    assert "double  function" in said.stdout
    assert "cut off" in said.stderr


@pytest.mark.parametrize(
    ("content", "said"),
    [
        pytest.param(None, "No such file", id="missing"),
        pytest.param("", "no trace", id="empty"),
        pytest.param("hello\nworld\n", "no trace", id="other text"),
        pytest.param(
            json.dumps({"format": "nbtool-trace", "schema": 99}), "schema 99", id="newer schema"
        ),
    ],
)
def test_show_of_what_is_no_trace_says_so(nbtool, tmp_path, content, said):
    path = tmp_path / "file.jsonl"
    written = content is None or path.write_text(content) >= 0
    shown = nbtool("show", path)

    assert written
    assert (shown.returncode, shown.stdout) == (1, "")
    assert said in " ".join(shown.stderr.split())
    assert "Traceback" not in shown.stderr


def test_errors_of_ours_have_no_traceback_unless_it_is_asked_for(nbtool):
    said = nbtool("trace", "nowhere.jsonl")
    assert (said.returncode, said.stdout) == (1, "")
    assert "nowhere.jsonl" in said.stderr
    assert "Traceback" not in said.stderr
    assert "Traceback" in nbtool("--debug", "trace", "nowhere.jsonl").stderr


def test_version_and_completion(nbtool):
    assert nbtool("--version").stdout.startswith("nbtool 0.")
    assert "--install-completion" in nbtool("--help").stdout
    asked = {"_NBTOOL_COMPLETE": "complete_bash", "COMP_WORDS": "nbtool ch", "COMP_CWORD": "1"}
    assert nbtool(**asked).stdout.split() == ["check"]


def test_local_asks_the_demo_model_where_it_is_installed(nbtool):
    said = nbtool("local", "What is the capital of Italy?")
    assert said.returncode == 0, said.stderr
    asked, answered = said.stdout.splitlines()[-2:]
    assert asked == "What is the capital of Italy?"
    assert answered.strip()


def test_what_the_demo_model_lacks_is_installed_only_after_a_yes(tmp_path):
    code = (
        "import sys; sys.modules['xllamacpp'] = None\n"
        "from nbtool import fetching\n"
        "try: fetching.fetch(lambda asked: print(asked), print)\n"
        "except Exception as error: print(error)\n"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)  # noqa: S603
    assert "Run `pip install xllamacpp" in said.stdout
    assert "Hint: Run: pip install xllamacpp" in said.stdout


def asking(server):
    return {"OPENAI_API_BASE": server.base_url, "OPENAI_API_KEY": "any"}


def test_doctor_asks_a_model_where_it_is_told_to(nbtool):
    with ScriptedServer(default="ready") as server:
        said = nbtool("doctor", "--ask", "openai/x", **asking(server))
    assert "openai/x answered in" in said.stdout, said.stderr
    assert len(server.requests) == 1


def test_doctor_says_what_is_wrong_with_a_model(nbtool):
    with ScriptedServer(default=Failure(401, "no such key")) as server:
        said = nbtool("doctor", "--ask", "openai/x", **asking(server))
    assert said.returncode == 1
    assert "Traceback" not in said.stderr
    assert "no such key" in said.stderr
