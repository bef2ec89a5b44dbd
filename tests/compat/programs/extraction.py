"""Typed extraction: pydantic models, literals, lists, optional values."""

from typing import Literal

import pydantic


class Person(pydantic.BaseModel):
    name: str
    age: int | None = None


ANSWERS = {
    "Ada": {
        "people": '[{"name": "Ada", "age": 36}, {"name": "Bob", "age": null}]',
        "mood": "good",
        "score": "0.75",
        "is_letter": "True",
    }
}


async def main(dspy):
    class Extract(dspy.Signature):
        """Find who is in a text, and how it is meant."""

        text: str = dspy.InputField()
        people: list[Person] = dspy.OutputField(desc="everybody, in order")
        mood: Literal["good", "bad"] = dspy.OutputField()
        score: float = dspy.OutputField()
        is_letter: bool = dspy.OutputField()

    found = await dspy.Predict(Extract).acall(text="Ada and Bob write")
    people = [(type(each) is Person, each.name, each.age) for each in found.people]
    return [people, found.mood, found.score, found.is_letter]
