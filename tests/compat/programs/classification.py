"""Many rows through one program, in batches."""

from typing import Literal

ANSWERS = {f"text {n}\n": {"label": ("spam", "ham")[n % 2]} for n in range(12)}


async def main(dspy):
    class Classify(dspy.Signature):
        """Tell what a message is."""

        text: str = dspy.InputField()
        label: Literal["spam", "ham"] = dspy.OutputField()

    rows = [dspy.Example(text=f"text {n}").with_inputs("text") for n in range(12)]
    program = dspy.Predict(Classify)
    options = {"num_threads": 4, "disable_progress_bar": True}
    return [each.label for each in program.batch(rows, **options)]
