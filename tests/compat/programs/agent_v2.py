"""An agent that calls two tools in one turn, and one that is told to submit."""

import asyncio
import json


def turn(thought, *calls):
    asked = [{"name": name, "args": arguments} for name, arguments in calls]
    return {"next_thought": thought, "tool_calls": json.dumps({"tool_calls": asked})}


ANSWERS = {
    "fog in Bergen": turn("I must.", ("submit", {"answer": "foggy", "degrees": 9})),
    "Bergen": turn("I look it up.", ("sky", {"city": "Bergen"})),
    "call_1_0": turn("Both are known.", ("submit", {"answer": "12 degrees", "degrees": 12})),
    "call_0_1": turn("One failed.", ("to_celsius", {"fahrenheit": 54})),
    "Oslo": turn("Both.", ("sky", {"city": "Oslo"}), ("to_celsius", {"kelvin": 1})),
}


def told(prediction):
    turns = prediction.history.messages
    kept = [sorted(each) for each in turns]
    calls = [[call.name, call.args] for each in turns for call in each["tool_calls"].tool_calls]
    results = [
        [result.call_id, result.name, result.is_error, None if result.is_error else result.value]
        for each in turns
        for result in each["tool_calls"].tool_call_results.tool_call_results
    ]
    thoughts = [str(each["next_thought"]) for each in turns]
    reason = prediction.termination_reason
    return [prediction.answer, prediction.degrees, reason, kept, calls, results, thoughts]


def refused(make, *arguments):
    try:
        make(*arguments)
    except ValueError:
        return True
    return False


async def main(dspy):
    async def sky(city: str) -> str:
        """Look at the sky above a city."""
        await asyncio.sleep(0)
        return f"fog in {city}"

    def to_celsius(fahrenheit: float) -> float:
        """Turn degrees into others."""
        return round((fahrenheit - 32) / 1.8)

    def submit() -> None:
        """Send it off."""

    agent = dspy.ReActV2("question -> answer, degrees: int", tools=[sky, to_celsius])
    free = await agent.acall(question="How warm is it in Oslo?")
    forced = await agent.acall(question="How warm is it in Bergen?", max_iters=1)
    names = [
        refused(dspy.ReActV2, "history -> answer", []),
        refused(dspy.ReActV2, "tools -> answer", []),
        refused(dspy.ReActV2, "question -> termination_reason", []),
        refused(dspy.ReActV2, "question -> answer", [submit]),
    ]
    return [told(free), told(forced), names]
