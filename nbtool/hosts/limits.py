"""What does not work in a place, each with what to write instead."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbtool.hosts.facts import release

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbtool.hosts.facts import Facts

# Judged from facts that were written by hand: docs/hosts.md says what was run and what was not.
_UNTRIED_HOSTS = ("Colab", "Databricks", "VS Code", "Pyodide")
_UNTRIED_PLATFORMS = {"win32": "Windows", "darwin": "macOS"}
# What Colab pins; nothing older was tried.
_OLDEST_TRIED = {
    "ipython": "7.34",
    "ipykernel": "6.17.1",
    "ipywidgets": "7.7.1",
    "anywidget": "0.9.21",
}
_DROPS_QUEUED_CELLS = (7, 1)


def limits(facts: Facts, host: str, rung: int | None, widgets: str) -> Iterator[str]:
    """Name what does not work.

    Args:
        facts: What was seen of the place.
        host: What it is called.
        rung: The rung that a synchronous call takes; None where none holds.
        widgets: Whether the live view can be shown: yes, no or unproven.

    Yields:
        One sentence or two for each; what weighs most comes first.
    """
    yield from _of_the_door(facts, rung)
    yield from _of_asyncio_run(facts)
    yield from _of_notebooks(facts, host, widgets)
    yield from _of_the_platform(facts)
    yield from _untried(facts, host)


def _of_the_door(facts: Facts, rung: int | None) -> Iterator[str]:
    if rung is None:
        yield "Synchronous calls raise: write `await step.acall(...)`."
    if rung == 3:  # noqa: PLR2004 - the ladder's numbers are names; `RUNGS` lists them
        yield "The rung for Pyodide is not built yet: write `await step.acall(...)`."
    if rung == 5:  # noqa: PLR2004 - as above
        yield (
            "Clients bound to the running loop (aiohttp, httpx) cannot be used in synchronous "
            "calls, and its other tasks stand still: write `await step.acall(...)`."
        )
        if "greenlet" not in facts.versions:
            yield "greenlet is not installed: `pip install greenlet` mends the line above."
    if not facts.in_main_thread:
        yield (
            "Ctrl-C reaches the main thread only: limit a wait in this thread with "
            "`nbtool.run(..., timeout_s=60)`."
        )


def _of_asyncio_run(facts: Facts) -> Iterator[str]:
    if facts.nest_asyncio:
        yield (
            "nest_asyncio is applied and cannot be undone: each task switch costs a third more. "
            "Leave out `nest_asyncio.apply()` and restart."
        )
    if facts.asyncio_adapter:
        yield (
            "`from asyncio import run` before `import nbtool` took Python's own: write "
            "`import asyncio` and `asyncio.run(main())`."
        )
    elif facts.nest_asyncio:
        yield "Overlapping calls of nest_asyncio's `asyncio.run` end in reverse order."
        if _drops_cells(facts):
            yield (
                "nest_asyncio 1.6 with ipykernel 7.1 or newer drops cells that are queued behind "
                "its `asyncio.run`: write `await main()`."
            )
    elif facts.running_loop is not None and facts.platform != "emscripten":  # Pyodide has its own
        yield (
            "`asyncio.run(main())` raises, as a loop runs already: write `await main()`, or "
            "`nbtool.run(main())` in synchronous code."
        )


def _drops_cells(facts: Facts) -> bool:
    is_original = "nest-asyncio" in facts.versions and "nest-asyncio2" not in facts.versions
    kernel = release(facts.versions.get("ipykernel", ""))
    return facts.kernel == "ipykernel" and is_original and kernel >= _DROPS_QUEUED_CELLS


def _of_notebooks(facts: Facts, host: str, widgets: str) -> Iterator[str]:
    is_notebook = facts.shell == "kernel" or facts.in_marimo
    if is_notebook and "anywidget" not in facts.versions:
        yield "No live view, as anywidget is not installed: `pip install anywidget`."
    if widgets == "unproven":
        yield (
            f"Custom widgets are unproven on {host}: where the live view stays empty, end the "
            "cell with `nbtool.last_trace()`."
        )
    if facts.in_marimo:
        yield "marimo has no magics: call the function of the same name."
    if facts.kernel == "ipykernel":
        yield (
            "A ContextVar set in a cell with top-level `await` is gone in the next cell: set it "
            "in a cell without one."
        )
    if is_notebook:
        for package, oldest in _OLDEST_TRIED.items():
            version = facts.versions.get(package, oldest)
            if release(version) < release(oldest):
                yield f"{package} {version} is older than {oldest}, the oldest tried: upgrade it."


def _of_the_platform(facts: Facts) -> Iterator[str]:
    if facts.platform == "win32":
        yield "`loop.add_signal_handler` does not exist on Windows: use `signal.signal`."


def _untried(facts: Facts, host: str) -> Iterator[str]:
    names = [name for name in _UNTRIED_HOSTS if host.endswith(name)]
    names += [_UNTRIED_PLATFORMS[facts.platform]] if facts.platform in _UNTRIED_PLATFORMS else []
    if names:
        yield (
            f"nbtool was not run on {' and '.join(names)}: all this is judged from what is known "
            "of it. Please report what differs."
        )
