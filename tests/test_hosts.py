"""Every host that was looked at, or written down by hand, is judged as it should be."""

import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
from greenlet import greenlet

from nbtool.checkup import doctor
from nbtool.hosts.facts import Facts, release
from nbtool.hosts.judgement import RUNGS, environment_of
from nbtool.runtime.door import run
from nbtool.runtime.surroundings import environment, gather_facts

FOLDER = Path(__file__).parent / "facts"
FILES = {path.stem: json.loads(path.read_text("utf-8")) for path in FOLDER.glob("*.json")}
FACTS = {name: Facts.from_dict(file["facts"]) for name, file in FILES.items()}
JUPYTER = "Jupyter kernel"
LAB = "JupyterLab or Notebook"
CELL = FACTS["kernel_newest_sync"]

RUN = "`asyncio.run(main())` raises"
BOUND = "Clients bound to the running loop"
CTRL_C = "Ctrl-C reaches the main thread only"
VARIABLE = "A ContextVar set in a cell with top-level `await` is gone"
TAKEN = "`from asyncio import run` before `import nbtool` took Python's own"
IN_A_CELL = (TAKEN, VARIABLE)


def unproven(host):
    return (f"Custom widgets are unproven on {host}",)


def untried(name):
    return (f"nbtool was not run on {name}",)


# Name of the file: host, rung, widgets, clicks, beginnings of what does not work.
JUDGED = {
    "script": ("script", 2, "no", "none", ()),
    "prompt": ("Python prompt", 2, "no", "none", ()),
    "thread": ("thread", 2, "no", "none", (CTRL_C,)),
    "worker": ("thread", 1, "no", "none", (CTRL_C,)),
    "asyncio_run": ("script", 4, "no", "none", (RUN,)),
    "greenlet": ("script", 5, "no", "none", (BOUND, RUN)),
    "uvloop": ("script", 5, "no", "none", (BOUND, RUN)),
    "uvicorn": ("service (uvicorn)", 4, "no", "none", (RUN,)),
    "ipython": ("IPython terminal", 2, "no", "none", ()),
    "ipython_await": ("IPython terminal", 4, "no", "none", (RUN,)),
    "marimo": ("marimo", 4, "no", "none", (RUN, "No live view", "marimo has no magics")),
    "kernel_newest_sync": (JUPYTER, 4, "yes", "native", IN_A_CELL),
    "kernel_newest_await": (JUPYTER, 4, "yes", "native", IN_A_CELL),
    "kernel_ipykernel73_sync": (JUPYTER, 4, "yes", "re-registered", IN_A_CELL),
    "kernel_ipykernel73_await": (JUPYTER, 4, "yes", "re-registered", IN_A_CELL),
    "kernel_databricks_sync": (JUPYTER, 4, "yes", "pump", IN_A_CELL),
    "kernel_databricks_await": (JUPYTER, 4, "yes", "pump", IN_A_CELL),
    "kernel_colab_sync": (JUPYTER, 4, "yes", "pump", IN_A_CELL),
    "kernel_colab_await": (JUPYTER, 4, "yes", "pump", IN_A_CELL),
    "nest_asyncio": (JUPYTER, 4, "yes", "pump", ("nest_asyncio is applied", TAKEN, VARIABLE)),
    "nest_asyncio_after": (JUPYTER, 4, "yes", "pump", IN_A_CELL),
    "colab": (
        "Colab", 4, "unproven", "pump", (TAKEN, *unproven("Colab"), VARIABLE, *untried("Colab")),
    ),
    "databricks": (
        "Databricks", 4, "unproven", "pump",
        (TAKEN, *unproven("Databricks"), VARIABLE, *untried("Databricks")),
    ),
    "vscode": (
        "VS Code", 4, "unproven", "native",
        (TAKEN, *unproven("VS Code"), VARIABLE, *untried("VS Code")),
    ),
    "pyodide": (
        "Pyodide", 3, "unproven", "none",
        ("The rung for Pyodide is not built", *unproven("Pyodide"), *untried("Pyodide")),
    ),
    "windows": (
        LAB, 4, "yes", "native",
        (*IN_A_CELL, "`loop.add_signal_handler` does not exist", *untried("Windows")),
    ),
    "macos": (LAB, 4, "yes", "native", (*IN_A_CELL, *untried("macOS"))),
}  # fmt: skip
BY_HAND = {"colab", "databricks", "vscode", "pyodide", "windows", "macos"}

IN_THE_NEWEST_KERNEL = """\
host              Jupyter kernel
python            CPython 3.11.7 on linux
kernel            ipykernel 7.4.0, IPython 9.18.1
loop              asyncio.unix_events._UnixSelectorEventLoop
door              parked (rung 4): the running loop goes on while a synchronous call waits
widgets           yes
clicks in a cell  native: the kernel serves them while a cell waits
not here          - `from asyncio import run` before `import nbtool` took Python's own: write
                    `import asyncio` and `asyncio.run(main())`.
                  - A ContextVar set in a cell with top-level `await` is gone in the next cell: set
                    it in a cell without one."""

UNDER_UVLOOP = """\
host              script
python            CPython 3.11.7 on linux
kernel            none
loop              uvloop.Loop
door              loop thread (rung 5): the running loop stands still meanwhile, as <class
                  'uvloop.Loop'> is no asyncio.BaseEventLoop
widgets           no
clicks in a cell  none
not here          - Clients bound to the running loop (aiohttp, httpx) cannot be used in synchronous
                    calls, and its other tasks stand still: write `await step.acall(...)`.
                  - `asyncio.run(main())` raises, as a loop runs already: write `await main()`, or
                    `nbtool.run(main())` in synchronous code."""


def judged(facts, **changes):
    return environment_of(dataclasses.replace(facts, **changes))


def program(*arguments):
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-W", "error", *arguments],
        capture_output=True, text=True, check=False, timeout=100, cwd=FOLDER.parents[1],
    )  # fmt: skip


def test_every_file_of_facts_is_judged():
    assert FILES.keys() == JUDGED.keys()
    assert {name for name, file in FILES.items() if not file["captured"]} == BY_HAND


@pytest.mark.parametrize("name", JUDGED)
def test_host_is_judged_by_its_facts(name):
    host, rung, widgets, clicks, beginnings = JUDGED[name]

    here = environment_of(FACTS[name])

    assert (here.host, here.rung, here.widgets, here.clicks) == (host, rung, widgets, clicks)
    assert here.door == RUNGS[rung]
    assert len(here.not_here) == len(beginnings)
    assert all(map(str.startswith, here.not_here, beginnings))


@pytest.mark.parametrize(
    ("changes", "host"),
    [
        ({"modules": ("google.colab",)}, "Colab"),
        ({"environ": {"COLAB_RELEASE_TAG": "x"}}, "Colab"),
        ({"environ": {"COLAB_RELEASE_TAG": "x"}, "kernel": None, "shell": None}, "script on Colab"),
        ({"environ": {"DATABRICKS_RUNTIME_VERSION": "x"}, "shell": None}, "script on Databricks"),
        ({"environ": {"VSCODE_PID": None}}, "VS Code"),
        ({"environ": {"VSCODE_CWD": None}}, "VS Code"),
        ({"environ": {"VSCODE_PID": None}, "kernel": None, "shell": None}, "script"),
        ({"has_notebook_file": True, "environ": {"JPY_SESSION_NAME": None}}, "VS Code"),
        ({"in_main_thread": False}, JUPYTER),
    ],
)
def test_host_is_told_by_what_it_leaves_behind(changes, host):
    assert judged(CELL, **{"at_prompt": False, **changes}).host == host


@pytest.mark.parametrize(
    ("version", "clicks"),
    [
        ("6.17.1", "pump"),
        ("6.31.0", "pump"),
        ("7.0.0", "re-registered"),
        ("7.3.9", "re-registered"),
        ("7.4.0a1", "native"),
        ("8.0", "native"),
    ],
)
def test_way_of_the_clicks_follows_the_kernel_version(version, clicks):
    assert judged(CELL, versions={**CELL.versions, "ipykernel": version}).clicks == clicks


def test_kernel_of_another_kind_has_no_known_way_for_clicks():
    assert judged(CELL, kernel="xpython").clicks == "none"


def test_kernel_without_anywidget_has_no_view_and_the_command_is_named():
    here = judged(CELL, versions={"ipykernel": "7.4.0", "ipython": "9.0"})

    assert (here.widgets, here.clicks) == ("no", "none")
    assert any("`pip install anywidget`" in line for line in here.not_here)


def test_missing_greenlet_is_named_with_the_command():
    why = "the package greenlet is not installed"

    here = judged(CELL, why_not_parked=why, versions={})

    assert (here.rung, here.door) == (5, "loop thread")
    assert here.why.endswith(why)
    assert "`pip install greenlet`" in here.not_here[1]


def test_pyodide_that_cannot_suspend_has_no_door():
    here = judged(FACTS["pyodide"], can_run_sync=False)

    assert (here.rung, here.door) == (None, "none")
    assert here.not_here[0] == "Synchronous calls raise: write `await step.acall(...)`."


def test_with_the_adapter_only_the_name_taken_before_it_is_left_out():
    lines = "\n".join(judged(CELL, asyncio_adapter=True).not_here)

    assert RUN not in lines
    assert "`from asyncio import run` before `import nbtool`" in lines


@pytest.mark.parametrize(
    ("package", "kernel", "drops"),
    [
        ("nest-asyncio", "7.4.0", True),
        ("nest-asyncio", "6.29.5", False),
        ("nest-asyncio2", "7.4.0", False),
    ],
)
def test_nest_asyncio_that_drops_queued_cells_is_named(package, kernel, drops):
    versions = {"ipykernel": kernel, package: "1.6.0"}

    lines = judged(CELL, nest_asyncio=True, asyncio_adapter=False, versions=versions).not_here

    assert any("drops cells" in line for line in lines) == drops


@pytest.mark.parametrize(
    ("package", "version", "named"),
    [
        ("ipython", "7.33.0", True),
        ("ipython", "7.34.0", False),
        ("ipykernel", "6.9", True),
        ("ipywidgets", "7.7.0", True),
        ("anywidget", "0.9.3", True),
    ],
)
def test_versions_older_than_any_that_was_tried_are_named(package, version, named):
    lines = judged(CELL, versions={**CELL.versions, package: version}).not_here

    assert any(line.startswith(f"{package} {version} is older") for line in lines) == named


@pytest.mark.parametrize(
    ("version", "numbers"),
    [("7.4.0", (7, 4, 0)), ("7.4.0b1", (7, 4, 0)), ("6.x", (6,)), ("", ()), ("dev", ())],
)
def test_release_is_the_leading_numbers(version, numbers):
    assert release(version) == numbers


@pytest.mark.parametrize(
    ("name", "text"),
    [("kernel_newest_sync", IN_THE_NEWEST_KERNEL), ("uvloop", UNDER_UVLOOP)],
)
def test_environment_reads_as_a_table(name, text):
    here = environment_of(FACTS[name])

    assert repr(here) == text
    assert str(here) == text


@pytest.mark.parametrize("name", JUDGED)
def test_table_is_at_most_100_columns_wide(name):
    assert max(map(len, str(environment_of(FACTS[name])).splitlines())) <= 100


def test_html_table_is_escaped_and_has_no_colours_of_its_own():
    html = environment_of(FACTS["uvloop"])._repr_html_()

    assert html.startswith('<table class="tex2jax_ignore mathjax_ignore">')
    assert "&lt;class &#x27;uvloop.Loop&#x27;&gt;" in html
    assert html.count("<br>") == 1
    assert "color" not in html


@pytest.mark.parametrize("name", FACTS)
def test_facts_survive_json(name):
    assert Facts.from_dict(json.loads(FACTS[name].to_json())) == FACTS[name]


@pytest.mark.parametrize("name", FILES)
def test_facts_hold_no_path_and_no_value_of_the_user(name):
    text = json.dumps(FILES[name]["facts"])

    assert "/" not in text
    assert "\\\\" not in text
    assert set(FACTS[name].environ.values()) <= {None}


def test_paths_in_the_environment_are_not_looked_at(monkeypatch):
    monkeypatch.setenv("JPY_SESSION_NAME", "/home/ada/secret.ipynb")
    monkeypatch.setenv("DATABRICKS_RUNTIME_VERSION", "client.5")

    seen = gather_facts().environ

    assert seen["JPY_SESSION_NAME"] is None
    assert seen["DATABRICKS_RUNTIME_VERSION"] == "client.5"


def test_looking_loads_no_notebook_package():
    ran = program(
        "-c",
        "import sys, nbtool.runtime.surroundings as s; s.environment(); "
        "print({'IPython', 'ipywidgets', 'anywidget', 'marimo', 'tornado'} & set(sys.modules))",
    )

    assert (ran.stdout, ran.stderr) == ("set()\n", "")


def test_looking_never_raises_when_what_is_looked_at_is_broken(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace())
    monkeypatch.setitem(sys.modules, "marimo", SimpleNamespace(running_in_notebook=lambda: 1 / 0))
    monkeypatch.setattr(sys, "stdout", None)

    seen = gather_facts()

    assert (seen.shell, seen.in_marimo, seen.stdout) == (None, False, "builtins.NoneType")


async def test_place_of_the_call_counts_not_the_process():
    inside = environment()
    elsewhere = []
    thread = threading.Thread(target=lambda: elsewhere.append(environment()))
    thread.start()
    thread.join()

    assert (inside.host, inside.rung) == ("script", 4)
    assert (elsewhere[0].host, elsewhere[0].rung) == ("thread", 2)


async def test_door_runs_the_chain_where_the_environment_says():
    async def thread_name():
        return threading.current_thread().name

    def ask():
        return environment().door, run(thread_name())

    assert ask() == ("parked", threading.current_thread().name)
    assert greenlet(ask).switch() == ("loop thread", "nbtool-loop")


def test_doctor_works_where_ipython_cannot_be_imported():
    blocked = "import sys; sys.modules['IPython'] = None; from nbtool.cli import main; main()"

    ran = program("-c", blocked, "doctor")

    assert ran.returncode == 0
    assert ran.stdout.startswith("host              script\npython            ")
    assert ran.stderr == "In a notebook, run nbtool.doctor() in a cell instead.\n"


def test_doctor_prints_the_facts_as_json():
    ran = program("-m", "nbtool", "doctor", "--json")

    assert (ran.returncode, ran.stderr) == (0, "")
    assert environment_of(Facts.from_dict(json.loads(ran.stdout))).host == "script"


@pytest.mark.kernel
def test_cell_of_a_real_kernel_shows_the_table():
    from nbtool.testing.kernel import Kernel

    with Kernel(import_from=[FOLDER.parents[1]]) as kernel:
        cell = kernel.run("import nbtool.runtime.surroundings as s\ns.environment()")

    assert cell.result_text.startswith("host              Jupyter kernel\n")
    assert "tex2jax_ignore" in cell.result.data["text/html"]


def test_doctor_tells_of_keys_their_names_alone(monkeypatch):
    monkeypatch.setenv("SOME_API_KEY", "sk-very-secret")
    found = doctor()
    assert "SOME_API_KEY" in found.keys
    for shown in (repr(found), found._repr_html_(), found.facts.to_json()):
        assert "very-secret" not in shown
    assert "SOME_API_KEY" in repr(found)
