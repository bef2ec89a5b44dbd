"""Demos and instructions that are saved, loaded, and in the next prompt."""

import pathlib
import tempfile

ANSWERS = {"Norway": {"reasoning": "It is in the north.", "capital": "Oslo"}}


async def main(dspy):
    class Capital(dspy.Module):
        def __init__(self):
            super().__init__()
            self.find = dspy.ChainOfThought("country -> capital")

        async def aforward(self, country):
            return await self.find.acall(country=country)

    program = Capital()
    predictor = program.predictors()[0]
    predictor.demos = [dspy.Example(country="France", reasoning="So.", capital="Paris")]
    predictor.signature = predictor.signature.with_instructions("Name the capital, in English.")
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "program.json"
        program.save(path)
        loaded = Capital()
        loaded.load(path)
    found = loaded.predictors()[0]
    prediction = await loaded.acall(country="Norway")
    return [prediction.capital, len(found.demos), found.signature.instructions]
