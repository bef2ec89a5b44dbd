"""Structured output by the JSON adapter, with an error that says what was wrong."""

ANSWERS = {
    "Rome": {"json": '{"city": "Rome", "people": 2800000}'},
    "nowhere": {"json": "I do not know."},
}


async def main(dspy):
    with dspy.context(adapter=dspy.JSONAdapter()):
        program = dspy.Predict("text -> city, people: int")
        good = await program.acall(text="Rome is large")
        try:
            await program.acall(text="nowhere")
        except Exception as error:  # noqa: BLE001 - its class is what is compared
            failed = type(error).__name__
    return [good.city, good.people, failed]
