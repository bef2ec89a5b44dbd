"""Tools of LangChain. It needs nothing of its packages: a tool describes itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import ToolExecutionError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


def calling(tool: Any) -> Callable[..., Awaitable[Any]]:
    """Return a function that calls a tool; see `Tool.from_langchain`.

    Args:
        tool: Has ``name`` and ``ainvoke``.
    """

    async def call(**arguments: Any) -> Any:
        try:
            return await tool.ainvoke(arguments)
        except Exception as error:
            raise ToolExecutionError(
                f"Failed to call LangChain tool {tool.name}: {error}"
            ) from error

    return call


def schema_of_arguments(tool: Any) -> dict[str, Any]:
    """Return the JSON schema of what a model may give: no injected arguments.

    Args:
        tool: Describes its arguments in one of the ways that LangChain has had.
    """
    described: Any = getattr(tool, "args_schema", None)
    if described is not None:
        described = getattr(tool, "tool_call_schema", described)
    if isinstance(described, dict):
        return cast("dict[str, Any]", described)
    of_model = getattr(described, "model_json_schema", None)
    if of_model is not None:
        return of_model()
    arguments: dict[str, Any] | None = getattr(tool, "args", None)
    if arguments is None:
        return tool.get_input_jsonschema()
    required = [name for name, schema in arguments.items() if "default" not in schema]
    return {"type": "object", "properties": arguments, "required": required}
