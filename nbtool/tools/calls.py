"""`ToolCalls`: which tools a language model asks for; `ToolCallResults`: what they returned."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self, cast

from pydantic import BaseModel, ConfigDict, model_validator
from pydantic.json_schema import SkipJsonSchema  # noqa: TC002 - pydantic reads annotations

from nbtool import mending
from nbtool.runtime.door import run
from nbtool.runtime.together import at_once
from nbtool.signatures.types import Type
from nbtool.tools.executing import Known, told_as_execution_error

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

    from nbtool.tools.executing import Functions
    from nbtool.tools.tool import Tool


def _without_description(schema: dict[str, Any]) -> None:
    """Keep our docstrings out of prompts."""
    schema.pop("description", None)


class ToolCalls(Type):
    """Hold the tools that a language model asks for; the type of an output field.

    A signature that has such an output field and an input field of type ``list[Tool]`` is asked
    by the provider's own function calling where adapter and model can; else the calls are part
    of the answer's text.

    Attributes:
        tool_calls: The calls, in the model's order.
        tool_call_results: What they returned, for a `History`; a `ToolCallResults`.

    Example:
        >>> calls = ToolCalls.from_dict_list([{"name": "double", "args": {"x": 4}}])
        >>> calls.tool_calls[0].execute({"double": lambda x: 2 * x})
        8
        >>> calls.execute({"double": lambda x: 2 * x}).tool_call_results[0].value
        8

    Source:
        Names, call shapes and the JSON form as DSPy's class of that name. ``aexecute``, and both
        for all the calls, are ours.
    """

    class ToolCall(Type):
        """Hold one call of a tool.

        Attributes:
            id: The provider's id of the call, to which a result must refer; None without one.
            name: Name of the tool, as the model wrote it.
            args: Its arguments, as the model wrote them.
        """

        model_config = ConfigDict(json_schema_extra=_without_description)

        id: SkipJsonSchema[str | None] = None
        name: str
        args: dict[str, Any]

        def format(self) -> dict[str, Any]:
            """Show the call as JSON, without its id."""
            return {"name": self.name, "args": self.args}

        def execute(self, functions: Functions | None = None) -> Any:
            """Call the tool, from synchronous code anywhere.

            Args:
                functions: Functions by name, or a list of tools or functions. By default the name
                    is looked up where `execute` is called; the model chose it, so rather say
                    which functions it may call.

            Raises:
                ToolNotFoundError: There is no such function.
                ToolExecutionError: The tool raised, or the arguments do not fit.
            """
            __tracebackhide__ = True
            tool = Known.of(functions, inspect.currentframe()).tool(self.name)
            with told_as_execution_error(self.name):
                return tool(**self.args)

        def aexecute(self, functions: Functions | None = None) -> Awaitable[Any]:
            """Call the tool, from asynchronous code; see `execute`."""
            tool = Known.of(functions, inspect.currentframe()).tool(self.name)
            return self._executed(tool)

        async def _executed(self, tool: Tool) -> Any:
            with told_as_execution_error(self.name):
                return await tool.acall(**self.args)

        @model_validator(mode="before")
        @classmethod
        def _read(cls, given: Any) -> Any:
            return _normal(given) if isinstance(given, dict) else given

    model_config = ConfigDict(json_schema_extra=_without_description)

    tool_calls: list[ToolCall]
    tool_call_results: SkipJsonSchema[Any] = None

    @classmethod
    def from_dict_list(cls, tool_calls_dicts: Sequence[Mapping[str, Any]]) -> Self:
        """Read calls, in our form or as providers write them.

        Args:
            tool_calls_dicts: Dicts with ``name`` and ``args``, or in the form of OpenAI's chat
                messages; their arguments may be JSON texts.

        Raises:
            pydantic.ValidationError: One of them is no call.
        """
        return cls.model_validate({"tool_calls": list(tool_calls_dicts)})

    @classmethod
    def description(cls) -> str:
        """Say how the model writes tool calls."""
        return (
            "the tools to call now, as JSON: "
            '{"tool_calls": [{"name": "...", "args": {"...": "..."}}]}, an empty list for none'
        )

    def format(self) -> dict[str, Any]:
        """Show the calls as JSON, in the form in which the model writes them."""
        return {"tool_calls": [call.format() for call in self.tool_calls]}

    def execute(self, functions: Functions | None = None) -> ToolCallResults:
        """Call all the tools at once, from synchronous code anywhere; see `aexecute`."""
        __tracebackhide__ = True
        return run(self._executed(Known.of(functions, inspect.currentframe())))

    def aexecute(self, functions: Functions | None = None) -> Awaitable[ToolCallResults]:
        """Call all the tools at once, and wait for all of them.

        An asynchronous tool runs on the loop, a plain one in a worker thread. Where the wait is
        cancelled, so are the tools.

        Args:
            functions: As for `ToolCall.execute`.

        Returns:
            One result for each call, in the order of the calls. That a tool raised, or that there
            is none of that name, is a result with ``is_error``; its value tells the model.

        Raises:
            NbtoolError: The program is mistaken: a `LoopError`, `ConfigurationError` or
                `SignatureError` of a tool is raised, for no model can mend it.
        """
        return self._executed(Known.of(functions, inspect.currentframe()))

    async def _executed(self, known: Known) -> ToolCallResults:
        async def observed(call: ToolCalls.ToolCall) -> tuple[Any, bool]:
            return await known.observed(call.name, call.args)

        outcomes = await at_once(observed, self.tool_calls)
        values, are_errors = [value for value, _ in outcomes], [failed for _, failed in outcomes]
        return ToolCallResults.from_tool_calls_and_values(self, values, are_errors)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return _as_one(given, "tool_calls")


class ToolCallResults(BaseModel):
    """Hold what tool calls returned.

    Attributes:
        tool_call_results: One result for each call, in the order of the calls.

    Example:
        >>> calls = ToolCalls.from_dict_list([{"name": "double", "args": {"x": 4}}])
        >>> results = ToolCallResults.from_tool_calls_and_values(calls, [8])
        >>> results.tool_call_results[0].value
        8

    Source:
        Names and call shapes as DSPy's class of that name.
    """

    class ToolCallResult(BaseModel):
        """Hold what one call returned.

        Attributes:
            call_id: Id of the call.
            name: Name of the tool.
            value: What it returned, or what the model shall see of its failure.
            is_error: Whether it failed.
        """

        call_id: str | None = None
        name: str
        value: Any
        is_error: bool = False

    tool_call_results: list[ToolCallResult]

    @classmethod
    def from_tool_calls_and_values(
        cls,
        tool_calls: ToolCalls | Sequence[ToolCalls.ToolCall],
        values: Sequence[Any],
        is_errors: Sequence[bool] | None = None,
    ) -> Self:
        """Put results beside their calls.

        Args:
            tool_calls: The calls.
            values: What each returned, in the same order.
            is_errors: Which of them failed; none by default.

        Raises:
            ValueError: There are not as many of them as calls.
        """
        calls = tool_calls.tool_calls if isinstance(tool_calls, ToolCalls) else list(tool_calls)
        failed = [False] * len(calls) if is_errors is None else list(is_errors)
        if len(calls) != len(values):
            raise ValueError("`tool_calls` and `values` must have the same length.")
        if len(calls) != len(failed):
            raise ValueError("`is_errors` must have the same length as `tool_calls`.")
        results = [
            cls.ToolCallResult(call_id=call.id, name=call.name, value=value, is_error=is_error)
            for call, value, is_error in zip(calls, values, failed, strict=True)
        ]
        return cls(tool_call_results=results)

    @model_validator(mode="before")
    @classmethod
    def _read(cls, given: Any) -> Any:
        return _as_one(given, "tool_call_results")


def _as_one(given: Any, name: str) -> Any:
    """Put a list, or one item alone, into the dict that a model has."""
    if isinstance(given, list):
        return {name: cast("list[Any]", given)}
    if isinstance(given, dict) and name not in given:
        return {name: [cast("dict[str, Any]", given)]}
    return cast("Any", given)


def call_as_dict(given: Any) -> dict[str, Any]:
    """Read a call as a provider's client gives it.

    Args:
        given: An object or a dict, in the form of OpenAI's chat messages or of its Responses API.

    Returns:
        ``id``, ``name`` and ``args``, which are as the model wrote them.
    """
    function = _get(given, "function") or given
    arguments: Any = _get(function, "arguments")
    if arguments is None:
        arguments = _get(function, "args")
    # Items of the Responses API also have an `id`, to which no result refers.
    call_id = _get(given, "call_id") or _get(given, "id")
    return {"id": call_id, "name": _get(function, "name"), "args": arguments or {}}


def _normal(given: Any) -> dict[str, Any]:
    call = call_as_dict(given)
    if isinstance(call["args"], str):
        text = call["args"].strip()
        call["args"] = mending.loads(text, "{") if text else {}
    call["args"] = mending.sound(call["args"])
    return call


def _get(given: Any, name: str) -> Any:
    if isinstance(given, Mapping):
        return cast("Mapping[str, Any]", given).get(name)
    return getattr(given, name, None)
