"""Checks of what a person sets, before anything of it is applied.

This layer knows no LM. A step's subject may say what fits it by two methods, both optional:

``__debug_inputs__(inputs)``
    returns the inputs to use, or raises what is wrong with them;
``__debug_output__(value, before)``
    returns the output to use, made of `value`, which may be JSON-like; `before` is what the step
    returned, or None.

Else inputs must fit the signature of the step's function.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, cast

from nbtool.errors import DebugError

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.debugging.stops import Stop
    from nbtool.tracing.span import Span

_SHOWN_CHARS = 300


def checked_inputs(
    span: Span, fn: Callable[..., Any] | None, given: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the inputs of a step with some of them replaced.

    Args:
        span: The step; it is not changed.
        fn: Its function.
        given: New values by name; the others stay.

    Raises:
        DebugError: They do not fit; the message says why.
    """
    inputs = {**span.inputs, **given}
    own = getattr(span.subject, "__debug_inputs__", None)
    try:
        if own is not None:
            return dict(own(inputs))
        if fn is not None:
            _signature_of(fn).bind(**inputs)
    except Exception as error:  # a user's types may raise anything
        raise _refused(f"The inputs {sorted(given)} of", span, error) from error
    return inputs


def _signature_of(fn: Callable[..., Any]) -> inspect.Signature:
    try:
        return inspect.signature(getattr(fn, "inline", fn))
    except ValueError:  # a builtin: it will say itself what it takes
        return inspect.signature(dict)


def checked_output(span: Span, value: Any) -> Any:
    """Return the output of a step made of a value that a person has set.

    Args:
        span: The step; it is not changed.
        value: The value, maybe JSON-like.

    Raises:
        DebugError: It does not fit; the message says why.
    """
    own = getattr(span.subject, "__debug_output__", None)
    if own is None:
        return value
    try:
        return own(value, span.output)
    except Exception as error:  # as above
        raise _refused("The output of", span, error) from error


def _refused(what: str, span: Span, error: Exception) -> DebugError:
    said = f"{error}"
    said = said if len(said) <= _SHOWN_CHARS else f"{said[:_SHOWN_CHARS]}…"
    return DebugError(
        f"{what} {span.kind} {span.name!r} were refused and nothing was changed: {said}",
        hint="Set what the step takes; `session.inputs` shows what it has now.",
        span_id=span.id,
    )


def from_json(text: str, what: str) -> Any:
    """Read JSON that a person has written.

    Raises:
        DebugError: It is none.
    """
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DebugError(
            f"The {what} are no JSON: {error}.", hint='Write JSON, such as {"question": "Why?"}.'
        ) from error


def mapping_of(value: Any) -> dict[str, Any]:
    """Return inputs by name, given as a mapping or as a JSON object in text.

    Raises:
        DebugError: They are neither.
    """
    found = from_json(value, "inputs") if isinstance(value, str) else value
    given = cast("Mapping[Any, Any]", found if isinstance(found, Mapping) else {0: found})
    if not all(isinstance(name, str) for name in given):
        raise DebugError(
            "Inputs are given by name, in a mapping or a JSON object.",
            hint='Write {"question": "Why?"}.',
        )
    return dict(given)


class Inputs(MutableMapping[str, Any]):
    """Show the inputs of a step that waits; setting one checks it first.

    Args:
        stop: The branch that waits at the step.
        edit: Checks and applies new values.
    """

    def __init__(self, stop: Stop, edit: Callable[[Stop, dict[str, Any]], None]) -> None:
        self._stop = stop
        self._edit = edit

    def __getitem__(self, name: str) -> Any:
        return self._stop.span.inputs[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._edit(self._stop, {name: value})

    def __delitem__(self, name: str) -> None:
        raise DebugError(f"The input {name!r} cannot be taken away.", hint="Set it to a value.")

    def __iter__(self) -> Iterator[str]:
        return iter(self._stop.span.inputs)

    def __len__(self) -> int:
        return len(self._stop.span.inputs)

    def __repr__(self) -> str:
        return repr(self._stop.span.inputs)
