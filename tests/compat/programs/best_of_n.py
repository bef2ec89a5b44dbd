"""The best of several answers, by a reward; and attempts compared by the model."""

import asyncio

ANSWERS = {
    "reasoning_attempt_1": {"rationale": "Both say so.", "answer": "Oslo"},
    "capital of Norway": {"reasoning": "It is known.", "answer": "Oslo in Norway"},
}


async def main(dspy):
    rewards = []

    def is_short(args, prediction):
        rewards.append([args["question"], prediction.answer])
        return 1.0 if len(prediction.answer) < 5 else 0.5 * len(rewards)

    think = dspy.ChainOfThought("question -> answer")
    question = "What is the capital of Norway?"
    best = dspy.BestOfN(module=think, N=3, reward_fn=is_short, threshold=1.0)
    chosen = await asyncio.to_thread(best, question=question)
    compare = dspy.MultiChainComparison("question -> answer", M=2)
    compared = await asyncio.to_thread(compare, [chosen, chosen], question=question)
    return [chosen.answer, len(rewards), rewards[0], compared.rationale, compared.answer]
