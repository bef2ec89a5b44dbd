"""Time one row of a nbtool batch whose model answers at once.

The model is asynchronous, as nbtool's own are; DSPy's batch can only use a synchronous one.
History, recorder and usage are as by default on both sides; no answer comes from a cache.
"""

from __future__ import annotations

import time
from typing import Any

from stopwatch import QUESTION, ready_response, report

import nbtool

RESPONSE = ready_response()
ROWS = 1_000


class Instant(nbtool.BaseLM):
    """Answer every request with the same ready response."""

    async def aforward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        """Return the ready response, whatever the request."""
        del prompt, messages
        return RESPONSE


def main() -> None:
    """Measure, and report."""
    nbtool.configure(lm=Instant("instant"))
    predict = nbtool.Predict("question -> answer")
    rows = [nbtool.Example(question=QUESTION).with_inputs("question")] * ROWS
    predict.batch(rows[:100], num_threads=8, disable_progress_bar=True)
    began_s = time.perf_counter()
    answers = predict.batch(rows, num_threads=8, disable_progress_bar=True)
    took_s = time.perf_counter() - began_s
    assert [answer.answer for answer in answers] == ["Paris"] * ROWS
    report(figure=1e6 * took_s / ROWS, version=nbtool.__version__)


main()
