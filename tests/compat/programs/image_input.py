"""A picture, a file and code as inputs; the model sees parts of a message."""

import base64

ANSWERS = {"Describe": {"answer": "a dot", "snippet": "```python\nprint(1)\n```"}}

DOT = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


async def main(dspy):
    class See(dspy.Signature):
        """Answer in a word."""

        task: str = dspy.InputField()
        picture: dspy.Image = dspy.InputField()
        pages: list[dspy.Image] = dspy.InputField()
        paper: dspy.File = dspy.InputField()
        answer: str = dspy.OutputField()
        snippet: dspy.Code = dspy.OutputField()

    uri = f"data:image/png;base64,{base64.b64encode(DOT).decode()}"
    answer = await dspy.Predict(See).acall(
        task="Describe what you see.",
        picture=dspy.Image(uri),
        pages=[dspy.Image("https://example.com/1.png"), dspy.Image("https://example.com/2.png")],
        paper=dspy.File.from_bytes(b"%PDF-1.7", filename="a.pdf", mime_type="application/pdf"),
    )
    sent = dspy.settings.lm.history[-1]["messages"][-1]["content"]
    parts = [part for part in sent if part["type"] != "text"]
    return [answer.answer, answer.snippet.code, parts]
