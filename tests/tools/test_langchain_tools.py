"""Tools of LangChain, in all ways in which they have described themselves."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Annotated

import pydantic
import pytest

from nbtool.errors import ToolArgumentsError, ToolExecutionError
from nbtool.programs.react import ReAct
from nbtool.testing.dummy import DummyLM
from nbtool.tools.tool import Tool

pytestmark = pytest.mark.api("Tool.from_mcp_tool")

X = {"x": {"type": "integer"}}
SCHEMA = {"type": "object", "properties": X, "required": ["x"]}


@pytest.fixture(scope="module")
def langchain():
    return pytest.importorskip("langchain_core.tools")


class Place(pydantic.BaseModel):
    """A place."""

    city: str
    at: list[float] = []


class Asked(pydantic.BaseModel):
    """What is asked."""

    place: Place = pydantic.Field(description="where")
    days: int = 1


def double(x: int, times: int = 1) -> int:
    """Double a number."""
    return x * 2**times


async def double_later(x: int, times: int = 1) -> int:
    """Double a number."""
    return x * 2**times


@pytest.mark.parametrize("function", [double, double_later], ids=["plain", "async"])
async def test_name_purpose_arguments_and_result_come_from_the_other_tool(langchain, function):
    tool = Tool.from_langchain(langchain.tool(function))

    assert (tool.name, tool.desc, tool.is_async) == (function.__name__, "Double a number.", True)
    assert (list(tool.args), tool.arg_types) == (["x", "times"], {"x": int, "times": int})
    assert await tool.acall(x=2, times=2) == 8
    with pytest.raises(ToolArgumentsError, match="Arg x is missing"):
        await tool.acall(times=1)


def test_synchronous_call_works_too(langchain):
    assert Tool.from_langchain(langchain.tool(double))(x=4) == 8


async def test_arguments_may_be_models(langchain):
    def forecast(place, days):
        """Forecast."""
        return f"{days} days in {place.city}"

    tool = Tool.from_langchain(langchain.tool(args_schema=Asked)(forecast))

    assert tool.args["place"]["properties"]["city"] == {"title": "City", "type": "string"}
    assert tool.args["place"]["description"] == "where (Required)"
    assert await tool.acall(place={"city": "Oslo"}) == "1 days in Oslo"
    with pytest.raises(ToolArgumentsError, match="Arg place is invalid"):
        await tool.acall(place={"at": []})


async def test_injected_argument_is_hidden_from_the_model_and_can_be_given(langchain):
    def look(x: int, user: Annotated[str, langchain.InjectedToolArg]) -> str:
        """Look."""
        return f"{user}: {x}"

    # Nobody could resolve the text that it is now: `langchain` is no global.
    look.__annotations__["user"] = Annotated[str, langchain.InjectedToolArg]
    tool = Tool.from_langchain(langchain.tool(look))

    assert list(tool.args) == ["x"]
    assert await tool.acall(x=1, user="me") == "me: 1"


async def test_schema_may_be_json(langchain):
    structured = langchain.StructuredTool(
        name="echo", description="Echo.", args_schema=SCHEMA, func=lambda x: x
    )
    tool = Tool.from_langchain(structured)

    assert tool.args == {"x": {"type": "integer", "description": "(Required)"}}
    assert await tool.acall(x=1) == 1


async def test_tool_of_one_text_can_be_called(langchain):
    old = langchain.Tool(name="shout", description="Shout.", func=str.upper)

    assert await Tool.from_langchain(old).acall(tool_input="hey") == "HEY"


async def ainvoke(arguments):
    return arguments


@pytest.mark.parametrize(
    "described",
    [{"args": X}, {"args_schema": SCHEMA}, {"get_input_jsonschema": lambda: SCHEMA}],
    ids=["args", "args_schema", "get_input_jsonschema"],
)
async def test_any_object_with_ainvoke_can_be_one(described):
    other = SimpleNamespace(name="echo", description="Echo.", ainvoke=ainvoke, **described)
    tool = Tool.from_langchain(other)

    assert tool.format_as_litellm_function_call()["function"]["parameters"]["required"] == ["x"]
    assert await tool.acall(x=1) == {"x": 1}


async def test_what_the_other_tool_raises_is_the_cause_of_a_runtime_error(langchain):
    def fail(x: int) -> int:
        """Fail."""
        raise KeyError(x)

    tool = Tool.from_langchain(langchain.tool(fail))
    with pytest.raises(RuntimeError, match=r"^Failed to call LangChain tool fail: 1$") as caught:
        await tool.acall(x=1)

    assert isinstance(caught.value, ToolExecutionError)
    assert isinstance(caught.value.__cause__, KeyError)


async def test_agent_uses_it_and_sees_its_errors(langchain):
    turns = [
        {"next_thought": "t", "next_tool_name": "double", "next_tool_args": {"x": x}}
        for x in (4, "four")
    ]
    last = [turns[0] | {"next_tool_name": "finish", "next_tool_args": {}}]
    lm = DummyLM([*turns, *last, {"reasoning": "r", "answer": "8"}])
    tool = Tool.from_langchain(langchain.tool(double))
    seen = (await ReAct("question -> answer", tools=[tool]).acall(question="?", lm=lm)).trajectory

    assert seen["observation_0"] == 8
    assert "Arg x is invalid" in seen["observation_1"]
