"""Queries that build on each other, with state in between."""

ANSWERS = {
    "notes ## ]]\n[]": {"reasoning": "First the author.", "query": "author of Faust"},
    "Goethe wrote Faust": {"reasoning": "Now the place.", "query": "birthplace of Goethe"},
    "born in Frankfurt": {"reasoning": "There it is.", "query": "done"},
}
KNOWN = {
    "author of Faust": "Goethe wrote Faust",
    "birthplace of Goethe": "Goethe was born in Frankfurt",
}


async def main(dspy):
    class Hop(dspy.Module):
        def __init__(self, hops):
            super().__init__()
            self.hops = hops
            self.ask = dspy.ChainOfThought("question, notes: list[str] -> query")

        async def aforward(self, question):
            notes = []
            for _ in range(self.hops):
                query = (await self.ask.acall(question=question, notes=notes)).query
                if query not in KNOWN:
                    break
                notes.append(KNOWN[query])
            return dspy.Prediction(notes=notes)

    program = Hop(4)
    prediction = await program.acall(question="Where was the author of Faust born?")
    names = [name for name, _ in program.named_predictors()]
    return [prediction.notes, names, len(program.predictors())]
