"""What follows from the facts: the host, the way a synchronous call takes, what works here."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Literal, TypeAlias

from nbtool.hosts import table
from nbtool.hosts.facts import release
from nbtool.hosts.limits import limits

if TYPE_CHECKING:
    from nbtool.hosts.facts import Facts

Widgets: TypeAlias = Literal["yes", "no", "unproven"]
Clicks: TypeAlias = Literal["native", "re-registered", "pump", "none"]

RUNGS = ("other loop", "home loop", "own loop", "Pyodide run_sync", "parked", "loop thread")

_UNPROVEN_FRONT_ENDS = ("Colab", "Databricks", "VS Code", "Pyodide", "marimo")
# ipykernel 7 reads messages in a thread; from 7.4 on it also hands widgets' messages over.
_READING_THREAD = (7, 0)
_HANDS_OVER = (7, 4)
_SHARED_TERMINAL_LOOP = (8, 0)  # IPython 7 makes a loop for each top-level await
_CLICKS = {
    "native": "native: the kernel serves them while a cell waits",
    "re-registered": "re-registered: taken from ipykernel's reading thread while a cell waits",
    "pump": "pump: taken out of ipykernel's queue while a cell waits",
    "none": "none",
}


@dataclasses.dataclass(frozen=True, slots=True, repr=False)
class Environment:
    """Say where nbtool was called and what that means; its repr is a small table.

    Attributes:
        host: What the place is called, e.g. ``"Jupyter kernel"`` or ``"script"``.
        python: Interpreter and platform.
        kernel: The kernel and its shell with versions; ``"none"`` outside.
        loop: Class of the running loop, or that there is none.
        rung: Number of the rung of `run`'s ladder that a synchronous call takes from here; None
            where no rung holds. A future of another running loop is waited for there (rung 0)
            from anywhere.
        door: Name of that rung.
        why: Why that one.
        widgets: Whether the live view can be shown.
        clicks: How clicks on it arrive while a cell runs.
        not_here: What does not work here, each with what to write instead.
    """

    host: str
    python: str
    kernel: str
    loop: str
    rung: int | None
    door: str
    why: str
    widgets: Widgets
    clicks: Clicks
    not_here: tuple[str, ...]

    def rows(self) -> list[tuple[str, list[str]]]:
        """Give the table: a label and the lines beside it."""
        rung = "" if self.rung is None else f" (rung {self.rung})"
        return [
            ("host", [self.host]),
            ("python", [self.python]),
            ("kernel", [self.kernel]),
            ("loop", [self.loop]),
            ("door", [f"{self.door}{rung}: {self.why}"]),
            ("widgets", [self.widgets]),
            ("clicks in a cell", [_CLICKS[self.clicks]]),
            ("not here", list(self.not_here) or ["nothing known"]),
        ]

    def __repr__(self) -> str:
        return table.plain(self.rows())

    def _repr_html_(self) -> str:
        return table.html(self.rows())


def environment_of(facts: Facts) -> Environment:
    """Judge a place by the facts about it.

    Args:
        facts: What was seen there.

    Returns:
        What it is called and what works there.
    """
    host = _host(facts)
    rung, why = _rung(facts)
    widgets = _widgets(facts, host)
    return Environment(
        host=host,
        python=f"{facts.implementation} {facts.python} on {facts.platform}",
        kernel=_kernel(facts),
        loop="none runs in this thread" if facts.running_loop is None else facts.running_loop,
        rung=rung,
        door="none" if rung is None else RUNGS[rung],
        why=why,
        widgets=widgets,
        clicks=_clicks(facts, widgets),
        not_here=tuple(limits(facts, host, rung, widgets)),
    )


def _host(facts: Facts) -> str:
    if facts.platform == "emscripten":
        return "Pyodide"
    if facts.in_marimo:
        return "marimo"
    if facts.shell == "kernel":
        return _kernel_host(facts)
    # A program started from a notebook, by `!python app.py` or as a job, is a script there.
    cloud = _cloud(facts)
    return _program(facts) + (f" on {cloud}" if cloud else "")


def _cloud(facts: Facts) -> str:
    if "google.colab" in facts.modules or "COLAB_RELEASE_TAG" in facts.environ:
        return "Colab"
    return "Databricks" if "DATABRICKS_RUNTIME_VERSION" in facts.environ else ""


def _kernel_host(facts: Facts) -> str:
    cloud = _cloud(facts)
    if cloud:
        return cloud
    if facts.has_notebook_file or {"VSCODE_PID", "VSCODE_CWD"} & facts.environ.keys():
        return "VS Code"
    # The server names the notebook to kernels that it starts; which page is open, none can see.
    return "JupyterLab or Notebook" if "JPY_SESSION_NAME" in facts.environ else "Jupyter kernel"


def _program(facts: Facts) -> str:
    if facts.shell == "terminal":
        return "IPython terminal"
    if facts.server:
        return f"service ({facts.server})"
    if not facts.in_main_thread:
        return "thread"
    return "Python prompt" if facts.at_prompt else "script"


def _kernel(facts: Facts) -> str:
    if facts.in_marimo:
        return _named(facts, "marimo")
    if facts.kernel is None:
        return "none"
    shell = f"IPython {facts.versions.get('ipython', '')}".rstrip()
    return f"{_named(facts, facts.kernel)}, {shell}"


def _named(facts: Facts, package: str) -> str:
    return f"{package} {facts.versions.get(package, '')}".rstrip()


def _rung(facts: Facts) -> tuple[int | None, str]:
    if facts.platform == "emscripten":
        if facts.can_run_sync:
            return 3, "Pyodide suspends the caller"
        return None, "Pyodide cannot suspend synchronous code here"
    if facts.running_loop is None:
        if facts.has_home_loop:
            return 1, "this thread works for a chain; calls go back to that chain's loop"
        return 2, _why_own_loop(facts)
    if facts.why_not_parked:
        return 5, f"the running loop stands still meanwhile, as {facts.why_not_parked}"
    return 4, "the running loop goes on while a synchronous call waits"


def _why_own_loop(facts: Facts) -> str:
    shared = release(facts.versions.get("ipython", "")) >= _SHARED_TERMINAL_LOOP
    if facts.shell == "terminal" and facts.in_main_thread and shared:
        return "no loop runs; IPython's own is taken, which top-level await uses too"
    return "no loop runs in this thread; it keeps one of its own"


def _widgets(facts: Facts, host: str) -> Widgets:
    # Without a kernel, Pyodide is a plain page or a program of Node.
    if not facts.in_marimo and facts.shell != "kernel":
        return "no"
    if "anywidget" not in facts.versions:
        return "no"
    return "unproven" if host in _UNPROVEN_FRONT_ENDS else "yes"


def _clicks(facts: Facts, widgets: Widgets) -> Clicks:
    if widgets == "no" or facts.kernel != "ipykernel":
        return "none"
    version = release(facts.versions.get("ipykernel", ""))
    if version >= _HANDS_OVER:
        return "native"
    return "re-registered" if version >= _READING_THREAD else "pump"
