"""Time one row of a DSPy batch whose model answers at once; see nbtool_batch.py."""

from __future__ import annotations

import time
import warnings
from typing import Any

import dspy
from stopwatch import QUESTION, ready_response, report

RESPONSE = ready_response()
ROWS = 1_000


class Instant(dspy.BaseLM):
    """Answer every request with the same ready response."""

    def forward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        """Return the ready response, whatever the request."""
        del prompt, messages
        return RESPONSE


def main() -> None:
    """Measure, and report."""
    # The subclass is deprecated, which is not the matter here.
    warnings.simplefilter("ignore")
    dspy.configure(lm=Instant("instant"))
    predict = dspy.Predict("question -> answer")
    rows = [dspy.Example(question=QUESTION).with_inputs("question")] * ROWS
    predict.batch(rows[:100], num_threads=8, disable_progress_bar=True)
    began_s = time.perf_counter()
    answers = predict.batch(rows, num_threads=8, disable_progress_bar=True)
    took_s = time.perf_counter() - began_s
    assert [answer.answer for answer in answers] == ["Paris"] * ROWS
    report(figure=1e6 * took_s / ROWS, version=dspy.__version__)


main()
