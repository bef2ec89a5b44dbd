"""A chat that streams the fields of two predictors, and says which tools it calls."""

ANSWERS = {
    "[[ ## draft ## ]]\nIt is Oslo": {"answer": "Oslo, I am sure of it"},
    "capital of Norway": {
        "reasoning": "Norway's capital is known.",
        "draft": "It is Oslo, I think",
    },
}


async def main(dspy):
    def look_up(name: str) -> str:
        """Look a name up."""
        return f"{name} is known"

    class Chat(dspy.Module):
        def __init__(self):
            super().__init__()
            self.think = dspy.ChainOfThought("question -> draft")
            self.write = dspy.Predict("draft -> answer")
            self.tool = dspy.Tool(look_up)

        async def aforward(self, question):
            draft = (await self.think.acall(question=question)).draft
            await self.tool.acall(name="Oslo")
            return await self.write.acall(draft=draft)

    listeners = [
        dspy.streaming.StreamListener(signature_field_name=name) for name in ("reasoning", "answer")
    ]
    stream = dspy.streamify(Chat(), stream_listeners=listeners, is_async_program=True)
    texts, messages, results = {}, [], []
    async for item in stream(question="What is the capital of Norway?"):
        if isinstance(item, dspy.streaming.StreamResponse):
            key = f"{item.predict_name} {item.signature_field_name}"
            texts[key] = texts.get(key, "") + item.chunk
        elif isinstance(item, dspy.Prediction):
            results.append(item.answer)
        else:
            messages.append(item.message)
    return [texts, messages, results]
