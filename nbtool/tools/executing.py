"""Executing the calls that a language model asks for: which tool is meant, and what it gives."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from nbtool.errors import MISUSE, ToolExecutionError, ToolNotFoundError
from nbtool.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable
    from types import FrameType

    Functions: TypeAlias = Mapping[str, Callable[..., Any]] | Iterable[Tool | Callable[..., Any]]

_PACKAGE = str(Path(__file__).parent.parent) + os.sep
_TRACEBACK_FRAMES = 5
_NAME_CHARS = 200  # of a name that a model has made up
_ERROR_CHARS = 10_000  # of an error, so that one tool does not fill the prompt


@dataclasses.dataclass(frozen=True, slots=True)
class Known:
    """Hold the functions that a call may mean.

    Attributes:
        functions: By name; not all of them need be functions.
        is_given: Whether the program has named them; else they are what its caller sees.
    """

    functions: Mapping[str, Any]
    is_given: bool = True

    @classmethod
    def of(cls, functions: Functions | None, frame: FrameType | None = None) -> Known:
        """Read what ``execute`` was given.

        Args:
            functions: Functions by name, a list of tools or functions, or None.
            frame: The frame of ``execute``, whose caller's names count where there is None.
        """
        if functions is None:
            caller = frame.f_back if frame is not None else None
            return cls({**caller.f_globals, **caller.f_locals} if caller else {}, is_given=False)
        if isinstance(functions, Mapping):
            return cls(cast("Mapping[str, Any]", functions))
        tools = [each if isinstance(each, Tool) else Tool(each) for each in functions]
        return cls({tool.name: tool for tool in tools})

    def tool(self, name: str) -> Tool:
        """Return the tool of a name.

        Args:
            name: As the model wrote it.

        Raises:
            ToolNotFoundError: There is no such function.
        """
        found = self.functions.get(name)
        if isinstance(found, Tool):
            return found
        if callable(found):
            return Tool(found, name=name)
        hint = f"There are {list(self.functions)}."
        raise ToolNotFoundError(
            f"Tool function {name!r} not found. Please pass the tool functions to the `execute` "
            "method.",
            hint=hint if self.is_given else "Write `call.execute([tool, ...])`.",
        )

    async def observed(self, name: str, arguments: Mapping[str, Any]) -> tuple[Any, bool]:
        """Call a tool for a model, which is told of errors and may try something else.

        Args:
            name: Name of the tool, as the model wrote it.
            arguments: Its arguments, as the model wrote them.

        Returns:
            What the tool returned and False; or a text about its error and True.

        Raises:
            NbtoolError: The program is mistaken, and no model can mend it: see `MISUSE`.
        """
        try:
            tool = self.tool(name)
        except ToolNotFoundError:
            # What else a notebook has is nothing for a model.
            others = f"; there are {list(self.functions)}" if self.is_given else ""
            return f"There is no tool {name!r:.{_NAME_CHARS}}{others}.", True
        try:
            return await tool.acall(**arguments), False
        except MISUSE:
            raise
        except Exception as error:  # noqa: BLE001 - whatever a tool raises, the model is told
            return f"Execution error in {name}: \n{_short_traceback(error)}", True


@contextlib.contextmanager
def told_as_execution_error(name: str) -> Generator[None]:
    """Raise what a tool raises as a `ToolExecutionError`.

    Args:
        name: Name of the tool.
    """
    __tracebackhide__ = True
    try:
        yield
    except MISUSE:
        raise
    except Exception as error:
        raise ToolExecutionError(
            f"Error executing tool {name!r}: {error}",
            hint="What the tool raised stands above, as the cause.",
        ) from error


def _short_traceback(error: BaseException) -> str:
    """Write an error for a model: with the user's frames, for ours say nothing to it."""
    told = traceback.TracebackException.from_exception(error)
    _keep_users_frames(told)
    text = "".join(told.format()).strip()
    if len(text) <= _ERROR_CHARS:
        return text
    return f"{text[: _ERROR_CHARS // 2]}\n[...]\n{text[-_ERROR_CHARS // 2 :]}"


def _keep_users_frames(told: traceback.TracebackException) -> None:
    seen: set[int] = set()
    waiting: list[traceback.TracebackException | None] = [told]
    while waiting:
        each = waiting.pop()
        if each is None or id(each) in seen:
            continue
        seen.add(id(each))
        users = [frame for frame in each.stack if not frame.filename.startswith(_PACKAGE)]
        each.stack = traceback.StackSummary.from_list(users[-_TRACEBACK_FRAMES:])
        waiting += [each.__cause__, each.__context__, *(each.exceptions or ())]
