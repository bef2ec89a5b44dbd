"""Context variables: into a chain, and what the chain changed back out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import contextvars


_UNSET: Any = object()


def copy_changed(start: contextvars.Context, end: contextvars.Context) -> None:
    """Set, in the current Context, the variables that a chain changed.

    Only these: a Context also carries what belongs to others, such as the parent header by which
    ipykernel 7 knows the cell that output goes to. Copying that back would move later output to
    the wrong cell.

    Args:
        start: The Context that the chain started with.
        end: The Context as the chain left it.
    """
    before = start.get
    for variable, value in end.items():
        if before(variable, _UNSET) is not value:
            variable.set(value)
