"""Calls side by side, with settings of their own."""

import asyncio

ANSWERS = {f"number {n}\n": {"answer": str(n * n)} for n in range(8)}


async def main(dspy):
    square = dspy.Predict("question -> answer: int")

    async def one(n):
        with dspy.context(trace=[]):
            return (await square.acall(question=f"number {n}")).answer

    squares = await asyncio.gather(*map(one, range(8)))
    with dspy.context(track_usage=True):
        prediction = await square.acall(question="number 3")
    usage = prediction.get_lm_usage()
    return [squares, [sorted(each)[:1] for each in usage.values()], list(usage)]
