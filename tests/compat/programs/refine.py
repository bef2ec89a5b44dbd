"""A program that is advised after its first attempt."""

import asyncio

ANSWERS = {
    "Use one word": {"answer": "Oslo"},
    "program_code": {"discussion": "Wordy.", "advice": '{"self": "Use one word."}'},
    "capital of Norway": {"answer": "It is Oslo"},
}


def is_short(args, prediction):
    """Rate an answer."""
    return 1.0 if len(prediction.answer.split()) == 1 else 0.0


async def main(dspy):
    refined = dspy.Refine(dspy.Predict("question -> answer"), 3, is_short, 1.0)
    prediction = await asyncio.to_thread(refined, question="What is the capital of Norway?")
    return [prediction.answer]
