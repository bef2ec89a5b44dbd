"""Retrieval, then an answer from what was found."""

import asyncio

ANSWERS = {"Einstein": {"reasoning": "It is in the second passage.", "answer": "1879"}}
PASSAGES = {"einstein": ["Einstein was a physicist.", "He was born in 1879."]}


async def main(dspy):
    async def retrieve(query: str, k: int = 2) -> list[str]:
        await asyncio.sleep(0)
        return PASSAGES[query.strip("?").rpartition(" ")[2].lower()][:k]

    class RAG(dspy.Module):
        def __init__(self, k):
            super().__init__()
            self.k = k
            self.respond = dspy.ChainOfThought("context: list[str], question -> answer")

        async def aforward(self, question):
            context = await retrieve(question, self.k)
            found = await self.respond.acall(context=context, question=question)
            return dspy.Prediction(context=context, answer=found.answer)

    prediction = await RAG(2).acall(question="When was born Einstein?")
    return [prediction.context, prediction.answer, sorted(prediction.keys())]
