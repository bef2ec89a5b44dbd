"""Tools of MCP servers: as a session describes and calls them, and with a real server."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pydantic
import pytest

from nbtool.errors import ToolArgumentsError, ToolExecutionError, WrongLoopError
from nbtool.programs.bridges import asyncify
from nbtool.programs.react import ReAct
from nbtool.testing.dummy import DummyLM
from nbtool.tools.tool import Tool

pytestmark = pytest.mark.api("Tool.from_mcp_tool")

SERVER = Path(__file__).with_name("mcp_server.py")
SCHEMA = {
    "type": "object",
    "properties": {
        "from": {"type": "string", "description": "the day"},
        "at": {"$ref": "#/$defs/Place"},
        "limit": {"type": "integer"},
    },
    "required": ["from"],
    "$defs": {"Place": {"type": "object", "properties": {"city": {"type": "string"}}}},
}


class Text(pydantic.BaseModel):
    type: str = "text"
    text: str


class Image(pydantic.BaseModel):
    type: str = "image"
    data: str


class OldResult(pydantic.BaseModel):
    """As version 1 of the package names its fields."""

    content: list[Text | Image]
    structuredContent: dict | None = None  # noqa: N815
    isError: bool = False  # noqa: N815


class NewResult(pydantic.BaseModel):
    """As version 2 of the package names its fields."""

    content: list[Text | Image]
    structured_content: dict | None = None
    is_error: bool = False


class FakeSession:
    """Answer every call with one result, or an error."""

    def __init__(self, result):
        self.result = result
        self.called = []

    async def call_tool(self, name, arguments=None):
        self.called.append((name, arguments))
        if isinstance(self.result, Exception):
            raise self.result
        return self.result


def tool_of(result, mode="text", **described):
    told = {"name": "look", "description": "Look.", "inputSchema": SCHEMA, **described}
    return Tool.from_mcp_tool(FakeSession(result), SimpleNamespace(**told), result_mode=mode)


ONE, TWO = Text(text="a"), Text(text="b")
PICTURE = Image(data="...")


# -- what a tool takes -----------------------------------------------------------------------------


@pytest.mark.parametrize("style", ["inputSchema", "input_schema"])
def test_name_purpose_and_arguments_come_from_the_server(style):
    told = SimpleNamespace(name="look", description="Look.", **{style: SCHEMA})
    tool = Tool.from_mcp_tool(FakeSession(None), told)

    assert (tool.name, tool.desc, tool.is_async) == ("look", "Look.", True)
    assert tool.args["from"] == {"type": "string", "description": "the day (Required)"}
    assert tool.args["at"] == SCHEMA["$defs"]["Place"]
    assert (tool.arg_types["limit"], tool.arg_types["at"]) == (int, dict)


def test_model_is_told_to_give_what_the_server_requires_and_nothing_else():
    entry = tool_of(None).format_as_litellm_function_call()["function"]

    assert entry["parameters"]["required"] == ["from"]
    assert list(entry["parameters"]["properties"]) == ["from", "at", "limit"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"Arg from is missing"),
        ({"from": "today", "limit": "many"}, "Arg limit is invalid"),
        ({"from": "today", "at": {"city": 1}}, "Arg at is invalid"),
    ],
    ids=["missing", "type", "inside"],
)
async def test_arguments_that_do_not_fit_never_reach_the_server(arguments, message):
    tool = tool_of(None)
    with pytest.raises(ToolArgumentsError, match=message):
        await tool.acall(**arguments)


async def test_further_arguments_reach_the_server():
    tool = tool_of(NewResult(content=[ONE]))

    assert await tool.acall(**{"from": "today", "more": 1}) == "a"


async def test_further_arguments_are_refused_where_the_server_says_so():
    tool = tool_of(None, inputSchema={**SCHEMA, "additionalProperties": False})
    with pytest.raises(ToolArgumentsError, match="Arg more is not in"):
        await tool.acall(**{"from": "today", "more": 1})


@pytest.mark.parametrize("schema", [{}, {"type": "object"}, None], ids=["empty", "object", "none"])
async def test_tool_without_arguments_can_be_called(schema):
    tool = tool_of(NewResult(content=[ONE]), inputSchema=schema, description=None)

    assert (tool.args, tool.desc, await tool.acall()) == ({}, "", "a")


def test_schema_that_doubles_at_each_level_is_cut():
    each = {
        f"L{n}": {"properties": {k: {"$ref": f"#/$defs/L{n + 1}"} for k in "ab"}} for n in range(60)
    }
    schema = {"properties": {"x": {"$ref": "#/$defs/L0"}}, "$defs": each}

    assert len(str(tool_of(None, inputSchema=schema))) < 5_000_000


# -- what a call gives -----------------------------------------------------------------------------


@pytest.mark.parametrize("style", [OldResult, NewResult], ids=["version 1", "version 2"])
@pytest.mark.parametrize(
    ("contents", "value"),
    [
        ([ONE], "a"),
        ([ONE, TWO], ["a", "b"]),
        ([ONE, PICTURE], "a"),
        ([PICTURE], [PICTURE]),
        ([], []),
    ],
    ids=["text", "texts", "text and image", "image", "nothing"],
)
async def test_result_is_its_text_or_else_its_contents(style, contents, value):
    assert await tool_of(style(content=contents)).acall(**{"from": "today"}) == value


@pytest.mark.parametrize("mode", ["text", "structured"])
@pytest.mark.parametrize(
    "result",
    [
        OldResult(content=[ONE], structuredContent={"x": 1}),
        NewResult(content=[ONE], structured_content={"x": 1}),
        SimpleNamespace(content=[ONE], structured_content={"x": 1}),
    ],
    ids=["version 1", "version 2", "any object"],
)
def test_structured_content_is_given_where_it_is_asked_for(result, mode):
    assert tool_of(result, mode)(**{"from": "x"}) == {"text": "a", "structured": {"x": 1}}[mode]


async def test_result_without_structured_content_is_its_text():
    assert await tool_of(NewResult(content=[ONE]), "structured").acall(**{"from": "x"}) == "a"


@pytest.mark.parametrize(
    "result",
    [OldResult(content=[ONE], isError=True), NewResult(content=[ONE], is_error=True)],
    ids=["version 1", "version 2"],
)
async def test_error_of_the_server_is_a_runtime_error_with_its_text(result):
    with pytest.raises(RuntimeError, match=r"^Failed to call a MCP tool: a$") as caught:
        await tool_of(result).acall(**{"from": "x"})

    assert isinstance(caught.value, ToolExecutionError)


async def test_error_of_the_session_is_told_with_the_tool_and_kept():
    lost = ConnectionError("closed")
    with pytest.raises(RuntimeError, match="'look' gave no result: ConnectionError") as caught:
        await tool_of(lost).acall(**{"from": "x"})

    assert caught.value.__cause__ is lost


def test_result_mode_that_there_is_not_is_refused():
    with pytest.raises(ValueError, match="Unsupported MCP result mode: 'json'"):
        tool_of(None, "json")


# -- a real server ---------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def served():
    """Start the server as a child; give the tools that it has, by name."""
    mcp = pytest.importorskip("mcp")
    child = mcp.StdioServerParameters(command=sys.executable, args=[str(SERVER)])
    with open(os.devnull, "w") as nowhere:  # noqa: ASYNC230, PTH123 - it opens at once
        async with (
            mcp.stdio_client(child, nowhere) as streams,
            mcp.ClientSession(*streams) as session,
        ):
            await session.initialize()
            listed = await session.list_tools()
            yield {tool.name: Tool.from_mcp_tool(session, tool) for tool in listed.tools}


def choice(tool, **arguments):
    return {"next_thought": "t", "next_tool_name": tool, "next_tool_args": arguments}


LAST = [choice("finish"), {"reasoning": "r", "answer": "12"}]


async def test_agent_uses_a_servers_tools_and_sees_their_errors():
    turns = [choice("weather", city="Oslo"), choice("to_celsius", fahrenheit=54), *LAST]
    async with served() as tools:
        agent = ReAct("question -> answer", tools=[*tools.values()])
        awaited = await agent.acall(question="?", lm=DummyLM(turns))
        called = agent(question="?", lm=DummyLM(turns))  # the session's loop goes on meanwhile

    assert awaited.trajectory == called.trajectory
    assert "Failed to call a MCP tool: " in awaited.trajectory["observation_0"]
    assert "no line to Oslo" in awaited.trajectory["observation_0"]
    assert awaited.trajectory["observation_1"] == "12"


async def test_server_that_dies_in_the_middle_is_an_observation():
    turns = [choice("crash"), choice("to_celsius", fahrenheit=54), *LAST]
    async with served() as tools:
        agent = ReAct("question -> answer", tools=[*tools.values()])
        prediction = await agent.acall(question="?", lm=DummyLM(turns))

    assert prediction.answer == "12"
    assert "'crash' gave no result" in prediction.trajectory["observation_0"]
    assert "'to_celsius' gave no result" in prediction.trajectory["observation_1"]


async def test_call_from_a_thread_with_a_loop_of_its_own_is_refused_and_does_not_wait():
    async with served() as tools:
        with pytest.raises(WrongLoopError, match="'to_celsius' belongs to the event loop"):
            await asyncio.to_thread(tools["to_celsius"], fahrenheit=54)

        called = asyncify(lambda: tools["to_celsius"](fahrenheit=54))
        assert await called() == "12"


def test_script_may_call_an_agent_synchronously():
    async def main():
        async with served() as tools:
            agent = ReAct("question -> answer", tools=[*tools.values()])
            return agent(question="?", lm=DummyLM([choice("to_celsius", fahrenheit=54), *LAST]))

    assert asyncio.run(main()).trajectory["observation_0"] == "12"
