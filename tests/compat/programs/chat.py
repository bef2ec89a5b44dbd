"""A conversation that remembers its turns, and what an LM was sent."""

ANSWERS = {"what is it called": {"answer": "Oslo"}, "capital of Norway": {"answer": "yes"}}


async def main(dspy):
    class Chat(dspy.Signature):
        """Answer in a word."""

        question: str = dspy.InputField()
        history: dspy.History = dspy.InputField()
        answer: str = dspy.OutputField()

    chat = dspy.Predict(Chat)
    history = dspy.History(messages=[])
    answers = []
    for question in ("Is there a capital of Norway?", "And what is it called?"):
        prediction = await chat.acall(question=question, history=history)
        answers.append(prediction.answer)
        history.messages.append({"question": question, **prediction})
    turns = [turn["role"] for turn in dspy.settings.lm.history[-1]["messages"]]
    return [answers, turns]
