"""Measure recording and the feed of a live view in one process: no kernel, no page."""

from __future__ import annotations

import asyncio
import gc
import time
import tracemalloc
from typing import Any

from stopwatch import report

from nbtool.tracing import boundary
from nbtool.tracing.boundary import traced
from nbtool.tracing.process import process_recorder
from nbtool.tracing.record import SpanRecord
from nbtool.views import html, text
from nbtool.views.feed import Feed

MESSAGES = [
    {"role": "system", "content": "You answer questions. " * 45},
    {"role": "user", "content": "What is the capital of France, and why? " * 25},
]
ANSWER = ["The capital is Paris. " * 23]
ROUNDS, STEPS = 60, 300
MANY = 50_000
LM_CALLS = 500


async def step(**_: Any) -> list[str]:
    """Answer at once."""
    return ANSWER


class Watcher:
    """Watch, and do nothing."""

    def opened(self, span: Any) -> None:
        """Do nothing."""

    def closed(self, span: Any) -> None:
        """Do nothing."""


async def bare_us() -> float:
    """Time a step without the boundary."""
    start = time.perf_counter()
    for _ in range(STEPS):
        await step(messages=MESSAGES)
    return (time.perf_counter() - start) / STEPS * 1e6


async def traced_us() -> float:
    """Time a step inside the boundary."""
    start = time.perf_counter()
    for _ in range(STEPS):
        await traced("lm", "LM", step, {"messages": MESSAGES})
    return (time.perf_counter() - start) / STEPS * 1e6


async def watched_us(*watchers: Any) -> float:
    """Time a step inside of another, as in a program, seen by these and nobody else."""
    before = boundary._process_wide  # noqa: SLF001 - all of them, whoever they are
    for each in before:
        boundary.uninstall(each)
    for each in watchers:
        boundary.install(each)
    try:
        return await traced("module", "Program", traced_us, {})
    finally:
        for each in watchers:
            boundary.uninstall(each)
        for each in before:
            boundary.install(each)


async def boundary_us() -> tuple[float, float]:
    """Return what recording a step adds, and what the boundary adds where nobody watches."""
    bare, unwatched, watched, recorded = [], [], [], []
    for _ in range(ROUNDS):  # in turn, so that all see the same machine
        bare.append(await bare_us())
        unwatched.append(await watched_us())
        watched.append(await watched_us(Watcher()))
        recorded.append(await watched_us(process_recorder))
    return min(recorded) - min(watched), min(unwatched) - min(bare)


def record(number: int, parent: int | None, end_s: float | None) -> SpanRecord:
    """Make a step with 200 characters in and out."""
    return SpanRecord.from_json(
        {
            "id": number,
            "parent_id": parent,
            "kind": "tool",
            "name": f"step {number % 7}",
            "start_s": number / 1000,
            "end_s": end_s,
            "status": "running" if end_s is None else "ok",
            "inputs": {"text": "x" * 200},
            "output": None if end_s is None else "y" * 200,
        }
    )


def fill(feed: Feed, first: int, count: int) -> None:
    """Let steps open and end in a feed, 33 to a message."""
    for number in range(first, first + count):
        parent = None if number % 10 == 1 else number - number % 10 + 1
        feed.take(record(number, parent, number / 1000 + 0.01))
        if number % 33 == 0:
            feed.delta()


def snapshots() -> tuple[float, float]:
    """Return the milliseconds of a snapshot after many steps, and the MB that as many more add."""
    feed = Feed()
    fill(feed, 1, MANY)
    took_ms = []
    for _ in range(7):
        start = time.perf_counter()
        feed.snapshot({})
        took_ms.append((time.perf_counter() - start) * 1e3)
    gc.collect()
    tracemalloc.start()
    fill(feed, MANY + 1, MANY)
    gc.collect()
    tracemalloc.reset_peak()
    grown = tracemalloc.get_traced_memory()[0]
    fill(feed, 2 * MANY + 1, MANY)
    gc.collect()
    growth_mb = (tracemalloc.get_traced_memory()[0] - grown) / 1e6
    tracemalloc.stop()
    return min(took_ms), growth_mb


def saved_kb() -> float:
    """Return what a trace of many LM calls leaves in a notebook."""
    spans: list[SpanRecord] = []
    for call in range(LM_CALLS):
        root = 3 * call + 1
        spans.append(lm_record(root, None, "module"))
        spans.append(lm_record(root + 1, root, "predict"))
        spans.append(lm_record(root + 2, root + 1, "lm"))
    form = html.static(spans, saved="summary"), text.stable(spans)
    return sum(len(each.encode()) for each in form) / 1e3


def lm_record(number: int, parent: int | None, kind: str) -> SpanRecord:
    """Make a step as an LM call has it."""
    inputs = {"messages": MESSAGES} if kind == "lm" else {"question": "What is it? " * 10}
    output = ANSWER if kind == "lm" else {"answer": ANSWER[0]}
    return SpanRecord.from_json(
        {
            "id": number,
            "parent_id": parent,
            "kind": kind,
            "name": f"{kind} {number}",
            "status": "ok",
            "start_s": 1.0,
            "end_s": 2.0,
            "inputs": inputs,
            "output": output,
            "usage": {"prompt_tokens": 500, "completion_tokens": 120},
            "cost_usd": 0.001,
        }
    )


def main() -> None:
    """Measure, and report."""
    snapshot_ms, growth_mb = snapshots()
    recording_us, unwatched_us = asyncio.run(boundary_us())
    report(
        recording_us=recording_us,
        unwatched_us=unwatched_us,
        snapshot_ms=snapshot_ms,
        growth_mb=growth_mb,
        saved_kb=saved_kb(),
    )


main()
