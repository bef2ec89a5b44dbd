"""An agent with an asynchronous and a synchronous tool, one of which fails once."""

import asyncio


def choice(thought, tool, arguments):
    return {"next_thought": thought, "next_tool_name": tool, "next_tool_args": arguments}


ANSWERS = {
    "observation_2": {"reasoning": "Both are known.", "answer": "12 degrees in Oslo"},
    "observation_1": choice("Enough.", "finish", "{}"),
    "observation_0": choice("It failed.", "to_celsius", '{"fahrenheit": 54}'),
    "Oslo": choice("I look it up.", "weather", '{"city": "Oslo"}'),
}


async def main(dspy):
    async def weather(city: str) -> str:
        """Get the weather in a city."""
        await asyncio.sleep(0)
        raise ConnectionError(f"no line to {city}")

    def to_celsius(fahrenheit: float) -> float:
        """Turn degrees into others."""
        return round((fahrenheit - 32) / 1.8)

    agent = dspy.ReAct("question -> answer", tools=[weather, to_celsius], max_iters=5)
    prediction = await agent.acall(question="How warm is it in Oslo?")
    seen = prediction.trajectory
    kept = [seen[f"tool_name_{n}"] for n in range(3)] + [seen[f"tool_args_{n}"] for n in range(2)]
    failed = str(seen["observation_0"])
    return [prediction.answer, kept, seen["observation_1"], "no line to Oslo" in failed]
