"""What recording costs a program, and what a live view costs the kernel that sends it."""

from __future__ import annotations

import functools
from typing import Any

from bench.environments import kernel_python, own
from bench.registry import NotMeasuredError, case

VIEWED = ("newest", "colab")


@functools.cache
def _traced() -> dict[str, Any]:
    """Measure once for all cases of this file."""
    return own().report("nbtool_trace.py")


@case(name="recording a step, 2 KB of messages in and 0.5 KB out", unit="us", target=5.0)
def recording() -> float:
    """Record the steps of an LM, above the same ones seen by a watcher that does nothing."""
    return _traced()["recording_us"]


@case(name="a step that nobody watches, above a bare await", unit="us", target=0.5)
def unwatched() -> float:
    """Pass the boundary where no instrument is installed."""
    return _traced()["unwatched_us"]


@case(name="snapshot of a view after 50,000 steps", unit="ms", target=100.0)
def snapshot() -> float:
    """Write all that a page has to know, best of 7; 20,000 rows are kept."""
    return _traced()["snapshot_ms"]


@case(name="memory of a view, 100,000 to 150,000 steps", unit="MB", target=5.0)
def growth() -> float:
    """Let as many steps end as were there before, and see what is still allocated."""
    return _traced()["growth_mb"]


@case(name="trace of 500 LM calls in a saved notebook", unit="KB", target=200.0)
def saved() -> float:
    """Write the static form, where no two steps are alike: groups would make it small."""
    return _traced()["saved_kb"]


def _register(kernel: str) -> None:
    @case(
        name=f"a live view of 10,000 steps, 1,000 a second, per step ({kernel})",
        unit="us",
        target=25.0,
    )
    def view() -> float:
        """Take the processor time of a kernel that shows them, above one that does not."""
        return own().report("nbtool_view.py", str(kernel_python(kernel)))["view_us"]


for _kernel in VIEWED:
    _register(_kernel)


@functools.cache
def _seen() -> dict[str, Any]:
    """Look at the view in a browser once for all cases below."""
    return own().report("nbtool_page.py")


@case(name="first paint of a view after its cell starts, fresh kernel", unit="ms", target=150.0)
def first_paint() -> float:
    """Wait for the first row below the first cell with a call, median of 3 kernels."""
    return _seen()["first_ms"]


@case(name="first paint of the tenth view", unit="ms", target=150.0)
def tenth_paint() -> float:
    """Wait for the first row below the tenth such cell, median of 3 kernels."""
    return _seen()["tenth_ms"]


@case(name="longest frame of 10,000 steps, 1,000 a second", unit="ms", target=60.0)
def longest_frame() -> float:
    """Look for the longest gap between two frames; all steps must have arrived."""
    seen = _seen()
    if not seen["has_all"]:
        raise NotMeasuredError("steps were lost on the way to the page")
    return seen["longest_frame_ms"]


@case(name="long tasks of a page with 10,000 steps, 1,000 a second", unit="tasks", target=0.0)
def long_tasks() -> float:
    """Count what kept the page for more than 50 ms."""
    return _seen()["long_tasks"]


@case(name="longest frame of 50,000 steps, 5,000 a second", unit="ms", target=100.0)
def longest_frame_of_many() -> float:
    """Look for the longest gap between two frames of a page that is told far too much."""
    return _seen()["longest_frame_of_many_ms"]
