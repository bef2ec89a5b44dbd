"""Tools of MCP servers. It needs nothing of the package `mcp`: a session brings its objects.

These have had two styles of field names: ``isError`` up to version 1 of the package, ``is_error``
since version 2.
"""

from __future__ import annotations

from asyncio import events
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, get_args

from nbtool.errors import ToolArgumentsError, ToolExecutionError, WrongLoopError

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Awaitable, Callable

ResultMode: TypeAlias = Literal["text", "structured"]


class Session(Protocol):
    """Call the tools of a server, as ``mcp.ClientSession`` and ``mcp.Client`` do."""

    def call_tool(self, name: str, arguments: dict[str, Any] | None = None) -> Awaitable[Any]:
        """Call a tool and wait for its result."""
        ...


def schema_of_arguments(tool: Any) -> dict[str, Any]:
    """Return the JSON schema of a tool's arguments.

    Args:
        tool: What the server says of it.
    """
    return _field(tool, "input_schema", "inputSchema") or {}


def calling(session: Session, name: str, result_mode: ResultMode) -> Callable[..., Awaitable[Any]]:
    """Return a function that has a server call a tool; see `Tool.from_mcp_tool`.

    Args:
        session: The session with the server.
        name: The tool's name.
        result_mode: What of a result is returned.

    Raises:
        ToolArgumentsError: There is no such `result_mode`.
    """
    if result_mode not in get_args(ResultMode):
        raise ToolArgumentsError(
            f"Unsupported MCP result mode: {result_mode!r}",
            hint=f"There are {' and '.join(map(repr, get_args(ResultMode)))}.",
        )
    home = _running_loop()

    async def call(**arguments: Any) -> Any:
        _check_loop(session, name, home)
        try:
            result = await session.call_tool(name, arguments=arguments)
        except Exception as error:
            raise ToolExecutionError(
                f"Failed to call a MCP tool: {name!r} gave no result: {error!r}",
                hint="Where its server has ended, open a new session and make the tools again.",
            ) from error
        return _value_of(result, result_mode)

    return call


def _running_loop() -> AbstractEventLoop | None:
    return events._get_running_loop()  # noqa: SLF001 # pyright: ignore[reportPrivateUsage] - the public form raises where there is none


def _check_loop(session: Session, name: str, home: AbstractEventLoop | None) -> None:
    """Refuse to wait for a session of `mcp` on a loop that is not its own: that never ends."""
    is_bound = any(each.__module__.partition(".")[0] == "mcp" for each in type(session).__mro__)
    if is_bound and home is not None and home is not _running_loop():
        raise WrongLoopError(
            f"The MCP session of the tool {name!r} belongs to the event loop {home!r}, and the "
            "tool was called on another one.",
            hint="Call it where the session was opened; from a thread of your own, use "
            "nbtool.asyncify(function) instead of asyncio.to_thread(function).",
        )


def _value_of(result: Any, result_mode: ResultMode) -> Any:
    contents: list[Any] = list(result.content)
    texts: list[str] = [each.text for each in contents if each.type == "text"]
    text = texts[0] if len(texts) == 1 else texts
    if _field(result, "is_error", "isError"):
        raise ToolExecutionError(f"Failed to call a MCP tool: {text}")
    if result_mode == "structured" and _is_set(result, "structured_content", "structuredContent"):
        return _field(result, "structured_content", "structuredContent")
    return text or [each for each in contents if each.type != "text"]


def _field(thing: Any, *names: str) -> Any:
    return next((getattr(thing, name) for name in names if hasattr(thing, name)), None)


def _is_set(thing: Any, *names: str) -> bool:
    """Tell whether a server has sent a field, be it null."""
    sent = getattr(thing, "model_fields_set", None)
    return any(hasattr(thing, name) if sent is None else name in sent for name in names)
