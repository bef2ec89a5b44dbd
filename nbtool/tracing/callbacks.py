"""Callbacks: DSPy's way of watching steps, as one instrument on the boundary.

A callback is an object with handlers such as ``on_lm_start``. The setting ``callbacks`` gives the
ones that watch everything, an object's own ``callbacks`` those that watch its steps alone.
"""

from __future__ import annotations

import contextlib
import inspect
import logging
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtool.configuration import value_of
from nbtool.tracing.boundary import install
from nbtool.tracing.wrapping import as_step, caller

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbtool.tracing.span import Span
    from nbtool.tracing.wrapping import Described

ACTIVE_CALL_ID: ContextVar[str | None] = ContextVar("active_call_id", default=None)
"""Id of the innermost watched call: in a start handler that is the parent of the call.

Source:
    Name and meaning as in DSPy's callbacks.
"""

_Told: TypeAlias = "tuple[list[Any], str, Token[str | None]]"  # callbacks, what they watch, outside
_WATCHED = {"module": "module", "predict": "module", "lm": "lm", "tool": "tool"}
_log = logging.getLogger("nbtool")


class BaseCallback:
    """Be told when steps start and end; subclasses define the handlers.

    Handlers are synchronous, run in the middle of the watched program and on its thread, and
    must be quick. What a handler raises is logged; the program goes on.

    Each start handler gets ``call_id`` (unique in this process, the same at the end of the
    step), ``instance`` (whose step it is) and ``inputs`` (arguments by the names of DSPy's
    methods). Each end handler gets ``call_id``, ``outputs`` (None after an error) and
    ``exception`` (None without one). `ACTIVE_CALL_ID` is the id of the step around.

    ``on_evaluate_*`` and ``on_compile_*`` are called for objects of yours that say so: see
    `with_callbacks`.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> class Answers(nbtool.BaseCallback):
        ...     def on_module_end(self, call_id, outputs, exception=None):
        ...         print(outputs.answer)
        >>> with nbtool.context(lm=DummyLM([{"answer": "Paris"}]), callbacks=[Answers()]):
        ...     prediction = nbtool.Predict("question -> answer")(question="Capital of France?")
        Paris

    Source:
        Names and arguments of the handlers as DSPy's class of that name.
    """

    def on_module_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that a module starts: ``inputs["kwargs"]`` has its inputs."""

    def on_module_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """Take note of what a module or predictor returned."""

    def on_lm_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that an LM is asked: ``prompt``, ``messages``, options in ``kwargs``."""

    def on_lm_end(self, call_id: str, outputs: Any, exception: BaseException | None = None) -> None:
        """Take note of an LM's answers: a list with one text or dict for each."""

    def on_tool_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that a tool is called: ``inputs["kwargs"]`` has its arguments."""

    def on_tool_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """Take note of what a tool returned."""

    def on_adapter_format_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that messages are written: ``signature``, ``demos`` and ``inputs``."""

    def on_adapter_format_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """Take note of the messages."""

    def on_adapter_parse_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that an answer is read: ``signature`` and ``completion``."""

    def on_adapter_parse_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """Take note of the fields in an answer."""

    def on_evaluate_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that an evaluation starts."""

    def on_evaluate_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """Take note of the result of an evaluation."""

    def on_compile_start(self, call_id: str, instance: Any, inputs: dict[str, Any]) -> None:
        """Take note that an optimizer starts."""

    def on_compile_end(
        self, call_id: str, outputs: Any, exception: BaseException | None = None
    ) -> None:
        """Take note of the program that an optimizer made."""


class _Caller:
    """Be the instrument that calls the handlers."""

    def __init__(self) -> None:
        self._told: dict[int, _Told] = {}

    def opened(self, span: Span) -> None:
        """Call the start handlers."""
        subject = span.subject
        if subject is None:  # a decorated function: DSPy has no handler for it
            return
        everywhere, own = value_of("callbacks"), getattr(subject, "callbacks", None)
        if not everywhere and not own:
            return
        callbacks = [*(everywhere or ()), *(own or ())]
        watched, call_id = _watched(span), str(span.id)
        given: dict[str, Any] = {"call_id": call_id, "instance": subject}
        _call(callbacks, f"on_{watched}_start", lambda: {**given, "inputs": _inputs(span)})
        self._told[span.id] = (callbacks, watched, ACTIVE_CALL_ID.set(call_id))

    def closed(self, span: Span) -> None:
        """Call the end handlers of those who saw the start."""
        if not self._told or (told := self._told.pop(span.id, None)) is None:
            return
        callbacks, watched, outside = told
        with contextlib.suppress(ValueError):  # closed in another Context, which has no such id
            ACTIVE_CALL_ID.reset(outside)
        given = {"call_id": str(span.id), "outputs": span.output, "exception": span.error}
        _call(callbacks, f"on_{watched}_end", lambda: given)


def _watched(span: Span) -> str:
    """Return which handlers watch a step."""
    if span.kind == "adapter":
        return f"adapter_{span.name.rpartition('.')[2]}"
    return _WATCHED.get(span.kind) or getattr(span.subject, "callback_kind", "module")


def _inputs(span: Span) -> dict[str, Any]:
    """Return the inputs as DSPy's handlers get them, a new dict for each handler."""
    given = dict(span.inputs)
    if span.kind in ("module", "predict"):
        return {"args": (), "kwargs": given}
    if span.kind == "lm":
        asked = {name: given.pop(name, None) for name in ("prompt", "messages")}
        return {**asked, "kwargs": given}
    return {"kwargs": given} if span.kind == "tool" else given


def _call(callbacks: Iterable[Any], name: str, arguments: Callable[[], dict[str, Any]]) -> None:
    for callback in callbacks:
        try:
            result = getattr(callback, name)(**arguments())
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("handlers are synchronous, and this one is `async def`")  # noqa: TRY301 - it is logged like any other failure
        except Exception as error:  # noqa: BLE001 - a watcher must never break what it watches
            _log.warning("Error when calling callback %r (%s): %r", callback, name, error)


install(_Caller())


def with_callbacks(function: Callable[..., Any]) -> Any:
    """Let a method of your own class tell callbacks of its calls.

    Each is a step of the trace. They are told by ``on_module_start`` and ``on_module_end``; an
    object that has the attribute ``callback_kind = "evaluate"`` or ``"compile"`` is told of by
    those handlers.

    Args:
        function: A method, ``async def`` or plain.

    Returns:
        A method of the same signature and kind.

    Example:
        >>> import nbtool
        >>> class Started(nbtool.BaseCallback):
        ...     def on_module_start(self, call_id, instance, inputs):
        ...         print(type(instance).__name__, inputs)
        >>> class Judge:
        ...     @nbtool.with_callbacks
        ...     def score(self, text, scale=10):
        ...         return min(len(text), scale)
        >>> with nbtool.context(callbacks=[Started()]):
        ...     Judge().score("good")
        Judge {'text': 'good', 'scale': 10}
        4

    Source:
        Name and arguments of the handlers as DSPy's decorator of that name.
    """
    signature = inspect.signature(function)
    own = signature.replace(parameters=list(signature.parameters.values())[1:])

    def described(instance: Any, /, *args: Any, **kwargs: Any) -> Described:
        arguments = own.bind(*args, **kwargs)
        arguments.apply_defaults()
        name = f"{type(instance).__name__}.{function.__name__}"
        call = caller(function.__get__(instance), own)
        return name, call, dict(arguments.arguments), instance

    return as_step(function, described)
