"""What agents share: their tools by name, and the tool calls of one turn of the model."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, TypeVar

from nbtool.runtime.together import at_once
from nbtool.tools.executing import Known
from nbtool.tools.tool import Tool

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")

MOST_CALLS = 100
"""In one turn: a model that repeats itself would ask for thousands."""

_log = logging.getLogger("nbtool")


def tools_by_name(agent: str, tools: Iterable[Callable[..., Any] | Tool]) -> dict[str, Tool]:
    """Return tools by name; of two with the same name the last one counts.

    Args:
        agent: Whose tools they are, for a warning.
        tools: Functions or tools.
    """
    named: dict[str, Tool] = {}
    for each in tools:
        tool = each if isinstance(each, Tool) else Tool(each)
        if tool.name in named:
            _log.warning("%s has two tools named %r: the first is not used.", agent, tool.name)
        named[tool.name] = tool
    return named


def within_limit(agent: str, calls: Sequence[T]) -> Sequence[T]:
    """Leave out the calls of a turn that are too many.

    Args:
        agent: Who makes them, for a warning.
        calls: As the model asked for them.
    """
    if len(calls) > MOST_CALLS:
        _log.warning(
            "%s makes the first %d of %d tool calls that the model wants in one turn.",
            agent,
            MOST_CALLS,
            len(calls),
        )
    return calls[:MOST_CALLS]


async def outcomes_of(
    calls: Sequence[tuple[str, Any]], tools: Mapping[str, Tool]
) -> list[tuple[Any, bool]]:
    """Make the tool calls of one turn, all at once.

    Args:
        calls: Name of the tool and arguments of each, as the model wrote them.
        tools: By name.

    Returns:
        For each call, in their order: what the model shall see, and whether it failed.

    Raises:
        NbtoolError: The program is mistaken; then the other calls are cancelled.
    """
    known = Known(tools)

    async def outcome(call: tuple[str, Any]) -> tuple[Any, bool]:
        return await known.observed(*call)

    if len(calls) == 1:  # in the chain's own Context: the next tool sees what this one sets there
        return [await outcome(calls[0])]
    return await at_once(outcome, calls)
