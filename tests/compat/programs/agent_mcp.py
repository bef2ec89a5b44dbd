"""An agent with the tools of an MCP server, one of which fails once."""

import sys
from pathlib import Path

SERVER = Path(__file__).parents[2] / "tools" / "mcp_server.py"


def choice(thought, tool, arguments):
    return {"next_thought": thought, "next_tool_name": tool, "next_tool_args": arguments}


ANSWERS = {
    "observation_2": {"reasoning": "Both are known.", "answer": "12 degrees in Oslo"},
    "observation_1": choice("Enough.", "finish", "{}"),
    "observation_0": choice("It failed.", "to_celsius", '{"fahrenheit": 54}'),
    "Oslo": choice("I look it up.", "weather", '{"city": "Oslo"}'),
}


async def main(dspy):
    from mcp import ClientSession, StdioServerParameters, stdio_client

    server = StdioServerParameters(command=sys.executable, args=[str(SERVER)])
    async with (
        stdio_client(server) as (read, write),
        ClientSession(read, write) as session,
    ):
        await session.initialize()
        served = await session.list_tools()
        tools = [dspy.Tool.from_mcp_tool(session, tool) for tool in served.tools]
        agent = dspy.ReAct("question -> answer", tools=tools, max_iters=5)
        prediction = await agent.acall(question="How warm is it in Oslo?")
        exact = dspy.Tool.from_mcp_tool(session, served.tools[0], result_mode="structured")
        structured = await exact.acall(fahrenheit=54)
    seen = prediction.trajectory
    kept = [seen[f"tool_name_{n}"] for n in range(3)] + [seen[f"tool_args_{n}"] for n in range(2)]
    failed = [text in str(seen["observation_0"]) for text in ("no line to Oslo", "MCP tool: ")]
    return [prediction.answer, kept, failed, seen["observation_1"], structured, list(tools[0].args)]
