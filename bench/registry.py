"""Cases register themselves, and their figures are judged here.

A case states its target when it is written. Where a competitor is measured in the same run, the
target is a ratio (nbtool's figure by the competitor's), which a slow machine leaves as it is;
elsewhere it is absolute, in the unit of the case.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Direction = Literal["lower", "higher"]
Outcome = Literal["met", "missed", "not measured"]


class NotMeasuredError(Exception):
    """Say why a figure is missing: it is neither met nor missed then."""


class Pair(NamedTuple):
    """Two figures of one run, both in the unit of the case."""

    own: float
    rival: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Hold what came out of one case.

    Args:
        case: Which one.
        outcome: Whether the target is met.
        own: nbtool's figure, None where not measured.
        rival: The competitor's figure, None where there is none.
        reason: Why the case was not measured.
    """

    case: Case
    outcome: Outcome
    own: float | None = None
    rival: float | None = None
    reason: str = ""

    @property
    def ratio(self) -> float | None:
        """Our figure by the competitor's; None without a competitor."""
        return self.own / self.rival if self.own is not None and self.rival else None


@dataclass(frozen=True, slots=True)
class Case:
    """Describe one benchmark.

    Args:
        name: Unique; shown, and selected by on the command line.
        unit: Of the figures, such as ``"us"``.
        target: Limit of the ratio where there is a competitor, else of the figure.
        direction: Which figures are the better ones.
        against: The competitor with its version; empty without one.
        measure: Returns a `Pair` where there is a competitor, else one figure; raises
            `NotMeasuredError` where it cannot.
    """

    name: str
    unit: str
    target: float
    direction: Direction
    against: str
    measure: Callable[[], float | Pair]

    def judge(self) -> Verdict:
        """Measure, and compare with the target.

        Raises:
            TypeError: A case against a competitor measured one figure, or the other way round.
        """
        try:
            measured = self.measure()
        except NotMeasuredError as exc:
            return Verdict(self, "not measured", reason=str(exc))
        if isinstance(measured, Pair) != bool(self.against):
            raise TypeError(f"case {self.name!r} is against {self.against!r} and gave {measured!r}")
        own, rival = measured if isinstance(measured, Pair) else (measured, None)
        if rival is not None and rival <= 0:
            reason = f"the competitor's figure is {rival!r}: nothing to compare with"
            return Verdict(self, "not measured", own, rival, reason)
        judged = own if rival is None else own / rival
        met = judged <= self.target if self.direction == "lower" else judged >= self.target
        return Verdict(self, "met" if met else "missed", own, rival)


@dataclass(slots=True)
class Registry:
    """Collect cases, in the order in which they register."""

    cases: list[Case] = field(default_factory=list["Case"])

    def case(
        self,
        *,
        name: str,
        unit: str,
        target: float,
        direction: Direction = "lower",
        against: str = "",
    ) -> Callable[[Callable[[], float | Pair]], Callable[[], float | Pair]]:
        """Register the decorated function as a case; see `Case` for the arguments.

        Raises:
            ValueError: The name is taken.
        """

        def register(measure: Callable[[], float | Pair]) -> Callable[[], float | Pair]:
            if any(name == known.name for known in self.cases):
                raise ValueError(f"two cases are named {name!r}")
            self.cases.append(Case(name, unit, target, direction, against, measure))
            return measure

        return register

    def select(self, wanted: Iterable[str]) -> list[Case]:
        """Return the cases whose names contain one of the given texts; all for none.

        Raises:
            LookupError: A text is in no name.
        """
        texts = [text.casefold() for text in wanted]
        for text in texts:
            if not any(text in case.name.casefold() for case in self.cases):
                known = ", ".join(repr(case.name) for case in self.cases)
                raise LookupError(f"no case is named like {text!r}; there are {known}")
        return [
            case
            for case in self.cases
            if not texts or any(text in case.name.casefold() for text in texts)
        ]


def exit_code(verdicts: Iterable[Verdict], *, allow_missing: bool = False) -> int:
    """Return 1 if a target is missed, or a case not measured unless that is allowed; else 0."""
    bad = {"missed"} if allow_missing else {"missed", "not measured"}
    return int(any(verdict.outcome in bad for verdict in verdicts))


registry = Registry()
case = registry.case
