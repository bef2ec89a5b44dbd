"""Time one `acall` of a DSPy predictor whose model answers at once.

DSPy 3.4 lets a model be written in two ways: as a subclass of `BaseLM` (deprecated, the shape
that nbtool offers) and as an engine. The argument says which: ``subclass`` or ``engine``.
History is on and its cache is off: a `BaseLM` subclass never had one.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import Any

import dspy
from dspy.lm15 import Message, Response, TextPart, Usage
from stopwatch import ANSWER, QUESTION, microseconds_per_call, ready_response, report

RESPONSE = ready_response()


class Instant(dspy.BaseLM):
    """Answer every request with the same ready response."""

    async def aforward(self, prompt: Any = None, messages: Any = None, **_: Any) -> Any:
        """Return the ready response; neither is read: ``prompt``, ``messages``."""
        del prompt, messages
        return RESPONSE


class InstantEngine:
    """Answer every request with the same ready response, in DSPy 3.4's own shape."""

    def __init__(self) -> None:
        self.response = Response(
            id="r1",
            model="instant",
            message=Message(role="assistant", parts=(TextPart(text=ANSWER),)),
            finish_reason="stop",
            usage=Usage(input_tokens=120, output_tokens=12, total_tokens=132),
        )

    def complete(self, request: Any) -> Response:
        """Return the ready response, whatever the request."""
        del request
        return self.response


class AsyncInstantEngine(InstantEngine):
    """Do the same in a coroutine."""

    async def complete(self, request: Any) -> Response:
        """Return the ready response, whatever the request."""
        del request
        return self.response


def model(shape: str) -> Any:
    """Return the model in the shape asked for."""
    if shape == "subclass":
        return Instant("instant")
    engine, async_engine = InstantEngine(), AsyncInstantEngine()
    return dspy.LM("instant", engine=engine, async_engine=async_engine, cache=False)


async def main() -> None:
    """Measure, and report."""
    # They would be printed once; looking up that they were is what would be measured.
    warnings.simplefilter("ignore")
    dspy.configure(lm=model(sys.argv[1]))
    predict = dspy.Predict("question -> answer")
    answered = await predict.acall(question=QUESTION)
    assert answered.answer == "Paris"
    figure = await microseconds_per_call(lambda: predict.acall(question=QUESTION))
    report(figure=figure, version=dspy.__version__)


asyncio.run(main())
