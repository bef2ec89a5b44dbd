"""A program of programs: its parts are named, copied and given an LM."""

ANSWERS = {
    "critique ## ]]\nlonger": {"text": "a longer text"},
    "draft ## ]]\nshort": {"critique": "longer"},
    "topic ## ]]\nsnow": {"draft": "short"},
}


async def main(dspy):
    class Write(dspy.Module):
        def __init__(self):
            super().__init__()
            self.steps = [dspy.Predict("topic -> draft"), dspy.Predict("draft -> critique")]
            self.last = {"revise": dspy.Predict("draft, critique -> text: str")}

        async def aforward(self, topic):
            draft = (await self.steps[0].acall(topic=topic)).draft
            critique = (await self.steps[1].acall(draft=draft)).critique
            return (await self.last["revise"].acall(draft=draft, critique=critique)).text

    program = Write()
    names = [name for name, _ in program.named_predictors()]
    copied = program.deepcopy()
    copied.set_lm(program.get_lm() if program.predictors()[0].lm else dspy.settings.lm)
    return [await copied.acall(topic="snow"), names, program.predictors()[0].lm is None]
