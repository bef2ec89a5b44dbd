"""Predict, awaited: one question, one answer."""

import asyncio
import os

import nbtool as dspy

dspy.configure(lm=dspy.LM(os.environ.get("MODEL", "local")))

predict = dspy.Predict("question->answer")


async def main():
    output = await predict.acall(question="What is the capital of France?")
    print(output)
    assert "Paris" in output.answer, output


asyncio.run(main())
