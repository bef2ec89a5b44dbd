"""`Step`: what modules, language models and tools have in common.

Each has its logic in ``aforward`` or in ``forward``, and can be called both ways: ``step(...)``
and ``await step.acall(...)``. The four combinations are decided here, once:

==================  ==========================================  =================================
logic is in         ``step(...)``                               ``await step.acall(...)``
==================  ==========================================  =================================
``aforward``        through the door                            on the loop
``forward``         in the caller's thread, on its own stack    in a worker thread
both                ``forward``, as above                       ``aforward``
==================  ==========================================  =================================
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, ClassVar, cast

from nbtool.runtime.call import Call, call_of
from nbtool.runtime.door import run
from nbtool.runtime.driven import marked_as_coroutine_function
from nbtool.runtime.threads import in_worker
from nbtool.tracing import process  # noqa: F401 # pyright: ignore[reportUnusedImport] - steps are recorded from now on
from nbtool.tracing.boundary import traced_inline

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.tracing.span import Kind

Inputs = dict[str, Any]


class Step:
    """Be callable with and without await, one span of the trace each time.

    Subclasses define ``aforward``, ``forward`` or both.
    """

    span_kind: ClassVar[Kind] = "module"

    @property
    def span_name(self) -> str:
        """Name of this step in traces."""
        return type(self).__name__

    @property
    def runs_inline(self) -> bool:
        """Whether a synchronous call runs ``forward`` in the caller's thread."""
        return _is_own(self, "forward")

    @property
    def runs_on_loop(self) -> bool:
        """Whether ``aforward`` has logic of its own."""
        return _is_own(self, "aforward")

    @property
    def _described(self) -> Callable[..., Any]:
        """Whose arguments are those of the step."""
        return self.aforward if self.runs_on_loop else self.forward

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the step and wait for its result, from synchronous code anywhere."""
        __tracebackhide__ = True  # IPython and pytest leave such frames out
        if self.runs_inline:
            fn, inputs = bound(self.forward, args, kwargs)
            return traced_inline(self.span_kind, self.span_name, fn, inputs, subject=self)
        call = cast("object", self.acall(*args, **kwargs))  # a user's own may be any coroutine
        try:
            return run(cast("Any", call))
        except KeyboardInterrupt:  # it may strike before anybody waits, and a cell starts calls
            if isinstance(call, Call):
                call.cancel()
            raise

    @marked_as_coroutine_function
    def acall(self, *args: Any, **kwargs: Any) -> Call[Any]:
        """Run the step from asynchronous code; as the plain call, but awaited.

        Returns:
            A `Call`: await it. In a notebook's cell it has started already.
        """
        fn, inputs = bound(self.aforward, args, kwargs, like=self._described)
        return call_of(self.span_kind, self.span_name, fn, inputs, subject=self)

    def __debug_inputs__(self, inputs: Inputs) -> Inputs:
        """Refuse inputs that its logic does not take, for a debugger."""
        inspect.signature(self._described).bind(**inputs)
        return inputs

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Do the step's work synchronously; by default, wait for ``aforward``."""
        return run(self.aforward(*args, **kwargs))

    async def aforward(self, *args: Any, **kwargs: Any) -> Any:
        """Do the step's work; by default, run ``forward`` in a worker thread."""
        if not _is_own(self, "forward"):
            raise NotImplementedError(
                f"{type(self).__name__} has neither `aforward` nor `forward`.\n"
                "  Hint: define `async def aforward(self, ...)`."
            )
        return await in_worker(functools.partial(self.forward, *args, **kwargs))


def _is_own(step: Step, method: str) -> bool:
    own = getattr(type(step), method)  # `Module` wraps the default, which stays the default
    return getattr(own, "__wrapped__", own) is not getattr(Step, method) or method in vars(step)


def bound(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: Inputs,
    *,
    like: Callable[..., Any] | None = None,
) -> tuple[Callable[..., Any], Inputs]:
    """Turn positional arguments into named ones, so that a trace can name them.

    Args:
        fn: What is to be called.
        args: Positional arguments.
        kwargs: Named arguments.
        like: Function whose signature names the arguments; `fn` by default.

    Returns:
        A function and named arguments that together make the same call.
    """
    if not args:
        return fn, kwargs
    names: list[str] = []
    for parameter in inspect.signature(like or fn).parameters.values():
        if parameter.kind is not parameter.POSITIONAL_OR_KEYWORD:
            break
        names.append(parameter.name)
    if len(args) > len(names) or kwargs.keys() & set(names[: len(args)]):
        return functools.partial(fn, *args), kwargs  # *args, or Python's own TypeError
    return fn, {**dict(zip(names, args, strict=False)), **kwargs}
