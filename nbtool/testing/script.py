"""Which step of a script answers which request."""

from __future__ import annotations

import inspect
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from nbtool.testing.answers import Failure, Item, Request, Step, step_from

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

    Respond: TypeAlias = Callable[[Request], Item | Awaitable[Item | None] | None]

_QUOTED_CHARS = 200


class Script:
    """Hand out the steps of a test, each once.

    A request gets the first of these that has something for it: the entry of `by_prompt` that
    fits, the next of `items`, what `respond` returns, `default`. Else it gets an HTTP 500
    that says so.

    Args:
        items: Steps in the order of the requests' arrival.
        by_prompt: Steps by a part of the last user turn; the first key that fits and has
            steps left counts. A list is used up one by one, a single step answers always.
        respond: Decides request by request, on the server's loop; None leaves it open.
        default: Answers whatever nothing else answers.
    """

    def __init__(
        self,
        items: Iterable[Item] = (),
        *,
        by_prompt: Mapping[str, Item | Sequence[Item]] | None = None,
        respond: Respond | None = None,
        default: Item | None = None,
    ) -> None:
        self._queue = deque(map(step_from, items))
        self._prompted: dict[str, deque[Step]] = {}
        self._endless: set[str] = set()
        self._asked: set[str] = set()
        for part, steps in (by_prompt or {}).items():
            single = isinstance(steps, Step | str)
            self._prompted[part] = deque(map(step_from, [steps] if single else steps))
            self._endless |= {part} if single else set()
        self._respond = respond
        self._default = None if default is None else step_from(default)

    @property
    def unused(self) -> list[Step]:
        """Return the steps that no request has asked for so far."""
        left = list(self._queue)
        for part, queue in self._prompted.items():
            left.extend(() if part in self._endless & self._asked else queue)
        return left

    async def step_for(self, request: Request) -> Step:
        """Take the step that answers a request.

        Args:
            request: The request, complete.

        Returns:
            The step; an HTTP 500 that names the reason where there is none.
        """
        step = self._by_prompt(request.prompt)
        if step is None and self._queue:
            step = self._queue.popleft()
        if step is None and self._respond is not None:
            step = await _response(self._respond, request)
        return step or self._default or _used_up(request)

    def _by_prompt(self, prompt: str) -> Step | None:
        for part, queue in self._prompted.items():
            if part in prompt and queue:
                self._asked.add(part)
                return queue[0] if part in self._endless else queue.popleft()
        return None


async def _response(respond: Respond, request: Request) -> Step | None:
    try:
        given = respond(request)
        item = await given if inspect.isawaitable(given) else given
    except Exception as exc:  # noqa: BLE001 - the test's own code: its client must see what broke
        return Failure(500, f"`respond` raised {exc!r} for {_quoted(request)}.", code="respond")
    return None if item is None else step_from(item)


def _used_up(request: Request) -> Failure:
    message = (
        f"The script is used up: {_quoted(request)} has no answer. "
        "Add a step for it, or give the server a `default`."
    )
    return Failure(500, message, code="script_used_up")


def _quoted(request: Request) -> str:
    prompt = request.prompt
    shown = prompt if len(prompt) <= _QUOTED_CHARS else f"{prompt[:_QUOTED_CHARS]}…"
    return f"request {request.number} ({request.method} {request.path}, prompt {shown!r})"
