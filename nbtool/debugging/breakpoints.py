"""`Breakpoint`: which steps of a chain to stop at."""

from __future__ import annotations

import dataclasses
import itertools
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from nbtool.errors import DebugError
from nbtool.tracing.span import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbtool.tracing.span import Span

Point = Literal["before", "after", "failed"]
"""Where a step can be stopped: before it runs, after it, or where it has raised an error."""

_numbers = itertools.count(1)


@dataclasses.dataclass(frozen=True, slots=True)
class Spent:
    """What a chain has spent so far.

    Attributes:
        usd: Known prices added up.
        tokens: Tokens sent and received.
    """

    usd: float = 0.0
    tokens: int = 0


@dataclasses.dataclass(slots=True, kw_only=True)
class Breakpoint:
    """Say which steps to stop at; what is not given matches every step.

    Args:
        kind: What sort of step: ``"module"``, ``"predict"``, ``"lm"``, ``"tool"``, ``"adapter"``
            or ``"function"``.
        name: Whose step: a class, tool, model or function name.
        tool: Name of a tool, or the tool.
        signature: Name of a `Signature` class, or its text, such as ``"question -> answer"``.
        when: Called with the live span, whose inputs and output may be looked at; true: stop.
        at: ``"before"`` or ``"after"`` the step, or where it has ``"failed"``.
        hits: Stop from this match on (>= 1); the ones before are only counted.
        once: Forget the breakpoint after its first stop.
        usd: Stop when the chain has spent this much, in US dollars; once.
        tokens: Stop when the chain has used this many tokens; once.

    Attributes:
        number: Unique in this process.
        matched: How often it has matched so far.
        is_on: Whether it can stop anything.

    Raises:
        DebugError: A value is none of those.

    Example:
        >>> import nbtool
        >>> nbtool.Breakpoint(tool="weather", when=lambda span: span.inputs["city"] == "Rome").at
        'before'
    """

    kind: Kind | None = None
    name: str | None = None
    tool: Any = None
    signature: str | None = None
    when: Callable[[Span], object] | None = None
    at: Point = "before"
    hits: int = 1
    once: bool = False
    usd: float | None = None
    tokens: int | None = None
    number: int = dataclasses.field(default_factory=lambda: next(_numbers))
    matched: int = 0
    is_on: bool = True

    def __post_init__(self) -> None:
        for given, allowed in ((self.at, get_args(Point)), (self.kind, (None, *get_args(Kind)))):
            if given not in allowed:
                raise DebugError(
                    f"A breakpoint cannot have {given!r}.", hint=f"Write one of {allowed}."
                )
        if self.hits < 1:
            raise DebugError(f"A breakpoint with hits={self.hits!r} never stops.", hint="Use >= 1.")
        if self.usd is not None or self.tokens is not None:
            self.at, self.once = "after", True

    def stops(self, span: Span, point: Point, spent: Spent) -> bool:
        """Tell whether to stop here, and count the match.

        Args:
            span: The step.
            point: Where it is.
            spent: What the whole chain has spent so far.

        Raises:
            Exception: Whatever `when` raises.
        """
        if not self.is_on or point != self.at or not self._fits(span) or not self._is_over(spent):
            return False
        if self.when is not None and not self.when(span):
            return False
        self.matched += 1
        if self.matched < self.hits:
            return False
        self.is_on = not self.once
        return True

    def _fits(self, span: Span) -> bool:
        return (
            self.kind in (None, span.kind)
            and self.name in (None, span.name)
            and (self.tool is None or _is_tool(span, self.tool))
            and (self.signature is None or _has_signature(span, self.signature))
        )

    def _is_over(self, spent: Spent) -> bool:
        if self.usd is None and self.tokens is None:
            return True
        is_dear = self.usd is not None and spent.usd >= self.usd
        return is_dear or (self.tokens is not None and spent.tokens >= self.tokens)

    def __str__(self) -> str:
        names = ("kind", "name", "tool", "signature", "when", "usd", "tokens")
        given = {name: getattr(self, name) for name in names}
        said = [f"{name}={_shown(v)}" for name, v in given.items() if v is not None]
        return f"{self.at} {', '.join(said) or 'every step'}"


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or getattr(value, "name", None) or repr(value)


def _is_tool(span: Span, tool: Any) -> bool:
    if span.kind != "tool":
        return False
    if isinstance(tool, str):
        return span.name == tool
    return span.subject is tool or getattr(span.subject, "func", span) is tool


def _has_signature(span: Span, wanted: str) -> bool:
    signature = getattr(span.subject, "signature", None)
    if span.kind not in ("predict", "module") or signature is None:
        return False
    written = str(getattr(signature, "signature", ""))
    return getattr(signature, "__name__", None) == wanted or _squeezed(written) == _squeezed(wanted)


def _squeezed(text: str) -> str:
    return "".join(text.split())


Wanted: TypeAlias = "str | Callable[[Span], object] | Breakpoint"
"""A breakpoint, or what stands for one: a kind, a name, or a predicate."""


def as_breakpoint(wanted: Wanted) -> Breakpoint:
    """Make a breakpoint of what a user may write for one.

    Args:
        wanted: A `Breakpoint`; a kind of step; the name of one; or a predicate.

    Raises:
        DebugError: It is nothing of that.
    """
    if isinstance(wanted, Breakpoint):
        return wanted
    if isinstance(wanted, str):
        is_kind = wanted in get_args(Kind)
        return Breakpoint(kind=cast("Kind", wanted)) if is_kind else Breakpoint(name=wanted)
    if callable(wanted):
        return Breakpoint(when=wanted)
    raise DebugError(
        f"{wanted!r} is no breakpoint.",
        hint='Write a kind ("lm"), a name ("weather"), a function of the span, or Breakpoint(...).',
    )


def as_breakpoints(wanted: Iterable[Wanted]) -> list[Breakpoint]:
    """Make a list of breakpoints; see `as_breakpoint`."""
    return [as_breakpoint(each) for each in wanted]
