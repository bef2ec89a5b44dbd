"""An asynchronous function as a tool, awaited."""

import asyncio

import nbtool as dspy


async def foo(x: int):
    await asyncio.sleep(0.1)
    print(f"foo got {x}")
    return x + 40


tool = dspy.Tool(foo)


async def main():
    result = await tool.acall(x=2)
    assert result == 42, result


asyncio.run(main())
