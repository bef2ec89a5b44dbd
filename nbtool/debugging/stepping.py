"""Which boundaries stop a chain, after Pause and the step commands; pure."""

from __future__ import annotations

import dataclasses
from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nbtool.debugging.breakpoints import Point
    from nbtool.tracing.span import Span

# Which pause of which session the running branch was let out of; child tasks inherit it.
_let_go: ContextVar[tuple[int, int]] = ContextVar("nbtool_let_go", default=(0, 0))


@dataclasses.dataclass(slots=True)
class Stepping:
    """Know whether a boundary stops its branch.

    While it is halting, every boundary does, but those inside of a step that is stepped over.

    Attributes:
        is_halting: Whether boundaries stop at all: after Pause, and until all are resumed.
        is_step: Whether a step command is on its way.
        passes: Steps whose inside is not stopped in, by id; true: their end is.
        pauses: How often it began to halt.
    """

    is_halting: bool = False
    is_step: bool = False
    passes: dict[int, bool] = dataclasses.field(default_factory=dict[int, bool])
    pauses: int = 0

    def halt(self, *, is_step: bool) -> None:
        """Stop every branch at its next boundary."""
        if not self.is_halting:
            self.pauses += 1
        self.is_halting, self.is_step = True, is_step

    def run_on(self) -> None:
        """Stop no branch."""
        self.is_halting = self.is_step = False
        self.passes.clear()

    def over(self, span: Span, point: str) -> None:
        """Let a step run to its end; one that has ended, to the next boundary."""
        if point == "before":
            self.passes[span.id] = True

    def out(self, span: Span) -> None:
        """Let the step around this one run to its end; the outermost one, past it."""
        if span.parent is not None:
            self.passes[span.parent.id] = True
        else:
            self.passes[span.id] = False

    def stops(self, span: Span, point: Point) -> bool:
        """Tell whether this boundary stops the branch that is at it."""
        if not self.is_halting or _let_go.get() == (id(self), self.pauses):
            return False
        if not self.passes:
            return True
        if span.id in self.passes:
            return point != "before" and self.passes[span.id]
        return not any(above.id in self.passes for above in span.ancestors())

    def let_go(self) -> None:
        """Let the calling branch run until the next pause, while others wait."""
        _let_go.set((id(self), self.pauses))

    def arrived(self, span: Span) -> None:
        """Take note that a branch waits here: stepping over has come to its end."""
        self.passes.pop(span.id, None)
