"""How a program of ours is written in Python: what a person pastes to repeat a step."""

from __future__ import annotations

from nbtool.tracing.boundary import current_span


def note_code(program: object, *arguments: str) -> None:
    """Note on the current step how its program is made.

    Args:
        program: Whose step it is.
        arguments: What its class is called with, as Python.
    """
    span = current_span()
    if span is None or span.subject is not program:
        return
    kind = type(program)
    package = "nbtool." if kind.__module__.startswith("nbtool.") else ""
    span.annotate(code=f"{package}{kind.__name__}({', '.join(arguments)})")
