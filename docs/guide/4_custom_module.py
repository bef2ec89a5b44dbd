"""A module of two predictors; the whole Prediction of the first goes into the second."""

import asyncio
import os

import nbtool as dspy

dspy.configure(lm=dspy.LM(os.environ.get("MODEL", "local")))


class MyModule(dspy.Module):
    def __init__(self):
        self.predict1 = dspy.ChainOfThought("question->answer")
        self.predict2 = dspy.ChainOfThought("answer->simplified_answer")

    async def aforward(self, question, **kwargs):  # noqa: ARG002 - the guide's own signature
        answer = await self.predict1.acall(question=question)
        return await self.predict2.acall(answer=answer)


async def main():
    mod = MyModule()
    result = await mod.acall(question="What is the capital of France?")
    print(result)
    assert result.reasoning, result
    assert "Paris" in result.simplified_answer, result


asyncio.run(main())
