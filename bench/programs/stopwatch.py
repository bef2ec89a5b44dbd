"""What the programs of both sides share, so that the same thing is measured in the same way.

A program stands in this directory, runs in a process of its own, and prints one JSON line. It
imports this file as ``stopwatch``: a program's own directory is on its path.
"""

from __future__ import annotations

import json
import statistics
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

QUESTION = "What is the capital of France?"
ANSWER = "[[ ## answer ## ]]\nParis\n\n[[ ## completed ## ]]"
WARM_UP_CALLS = 200
CALLS = 300
ROUNDS = 7


def ready_response() -> SimpleNamespace:
    """Return a response shaped like OpenAI's Chat Completions, made before the clock starts."""
    message = SimpleNamespace(role="assistant", content=ANSWER, tool_calls=None)
    choice = SimpleNamespace(index=0, message=message, finish_reason="stop", logprobs=None)
    usage = {"prompt_tokens": 120, "completion_tokens": 12, "total_tokens": 132}
    return SimpleNamespace(id="r1", model="instant", choices=[choice], usage=usage)


async def microseconds_per_call(call: Callable[[], Awaitable[object]]) -> float:
    """Return the median over several rounds of the mean time of one call, one after another."""
    for _ in range(WARM_UP_CALLS):
        await call()
    rounds: list[float] = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(CALLS):
            await call()
        rounds.append((time.perf_counter() - start) / CALLS * 1e6)
    return statistics.median(rounds)


def report(**facts: Any) -> None:
    """Print the one line that the benchmark reads."""
    print(json.dumps(facts), flush=True)
