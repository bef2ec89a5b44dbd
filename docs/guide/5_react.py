"""ReAct with asynchronous tools; the synchronous call gives the same."""

import asyncio
import os

import nbtool as dspy

dspy.configure(lm=dspy.LM(os.environ.get("MODEL", "local")))


async def get_weather(city: str) -> str:
    """Get the weather in a city now."""
    await asyncio.sleep(0.1)
    return f"It is 17 degrees and windy in {city}."


async def get_population(city: str) -> str:
    """Get the number of people who live in a city."""
    await asyncio.sleep(0.1)
    return f"{city} has 709,000 inhabitants."


agent = dspy.ReAct("question->answer", tools=[get_weather, get_population])


def check(result):
    assert result.trajectory.get("tool_name_0") == "get_weather", result
    assert "17 degrees" in result.trajectory["observation_0"], result
    assert "17" in result.answer, result


async def main():
    result = await agent.acall(question="What is the weather in Oslo?")
    print(result.answer)
    check(result)


asyncio.run(main())
check(agent(question="What is the weather in Oslo?"))
