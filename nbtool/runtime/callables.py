"""Calling a program from asynchronous code, whichever of the two forms it has."""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, cast

from nbtool.runtime.threads import in_worker

if TYPE_CHECKING:
    from collections.abc import Callable


async def awaited(program: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call a program and wait for its result, while the loop goes on.

    Args:
        program: What has an ``acall`` or is an ``async def`` function runs on the loop; anything
            else that can be called runs in a worker thread.
        *args: Positional arguments.
        **kwargs: Named arguments.
    """
    acall: Any = getattr(program, "acall", None)
    is_class = isinstance(cast("object", program), type)  # whose method belongs to its objects
    if acall is not None and not is_class:
        return await acall(*args, **kwargs)
    if inspect.iscoroutinefunction(program):
        return await program(*args, **kwargs)
    result = await in_worker(functools.partial(program, *args, **kwargs))
    return await cast("Any", result) if inspect.isawaitable(result) else result
