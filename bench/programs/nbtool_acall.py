"""Time one `acall` of a nbtool predictor whose model answers at once.

The model is a subclass of `BaseLM`, as on DSPy's side. No answer comes from a cache, for a model
that one writes oneself has none; history and recorder are on, as by default.
"""

from __future__ import annotations

import asyncio
from typing import Any

from stopwatch import QUESTION, microseconds_per_call, ready_response, report

import nbtool

RESPONSE = ready_response()


class Instant(nbtool.BaseLM):
    """Answer every request with the same ready response."""

    async def aforward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        """Return the ready response, whatever the request."""
        del prompt, messages
        return RESPONSE


async def main() -> None:
    """Measure, and report."""
    nbtool.configure(lm=Instant("instant"))
    predict = nbtool.Predict("question -> answer")
    answered = await predict.acall(question=QUESTION)
    assert answered.answer == "Paris"
    figure = await microseconds_per_call(lambda: predict.acall(question=QUESTION))
    report(figure=figure, version=nbtool.__version__)


asyncio.run(main())
