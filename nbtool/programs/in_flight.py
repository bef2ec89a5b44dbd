"""Which modules are being called here: they keep the requests that are made below them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbtool.configuration import derive, value_of
from nbtool.lm.history import further_histories
from nbtool.tracing.boundary import current_span

if TYPE_CHECKING:
    from nbtool.lm.history import Entry
    from nbtool.tracing.span import Span

_MODULES = frozenset({"module", "predict"})


def modules_in_flight() -> list[Any]:
    """Return the modules that the calling code is part of, outermost first."""
    found: dict[int, Any] = {}
    for span in _steps():
        if span.kind in _MODULES and span.subject is not None:
            found[id(span.subject)] = span.subject
    return list(reversed(found.values()))


def _steps() -> list[Span]:
    here = current_span()
    return [here, *here.ancestors()] if here is not None else []


def _caller_predict() -> Any:
    return next((span.subject for span in _steps() if span.kind == "predict"), None)


def _histories() -> list[list[Entry]]:
    kept: list[list[Entry]] = [module.history for module in modules_in_flight()]
    own = value_of("history")
    return kept if own is None else [*kept, own]


further_histories.append(_histories)
derive("caller_modules", lambda: modules_in_flight() or None)
derive("caller_predict", _caller_predict)
