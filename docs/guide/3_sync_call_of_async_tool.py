"""The same kind of tool, called without await."""

import asyncio

import nbtool as dspy


async def double(x: int) -> int:
    """Double a number."""
    await asyncio.sleep(0.1)
    return x * 2


tool = dspy.Tool(double)

with dspy.context(allow_tool_async_sync_conversion=True):
    result = tool(x=5)

print(f"double gave {result}")
assert result == 10, result
