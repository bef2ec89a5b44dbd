"""Time one `acall` of a DSPy predictor whose model answers at once.

The model is a subclass of `BaseLM`, the shape that nbtool offers too. DSPy 3.4 deprecates it in
favour of engines, which are slower: 579 us beside 544 us in one run. No answer comes from a
cache, for DSPy caches none of such a subclass; history is on, as by default.
"""

from __future__ import annotations

import asyncio
import warnings
from typing import Any

import dspy
from stopwatch import QUESTION, microseconds_per_call, ready_response, report

RESPONSE = ready_response()


class Instant(dspy.BaseLM):
    """Answer every request with the same ready response."""

    async def aforward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        """Return the ready response, whatever the request."""
        del prompt, messages
        return RESPONSE


async def main() -> None:
    """Measure, and report."""
    # The subclass is deprecated, which is not the matter here.
    warnings.simplefilter("ignore")
    dspy.configure(lm=Instant("instant"))
    predict = dspy.Predict("question -> answer")
    answered = await predict.acall(question=QUESTION)
    assert answered.answer == "Paris"
    figure = await microseconds_per_call(lambda: predict.acall(question=QUESTION))
    report(figure=figure, version=dspy.__version__)


asyncio.run(main())
