"""`Budget`: a limit that counts what is spent under it."""

from __future__ import annotations

import math
import threading
from typing import TYPE_CHECKING, Any, Self

from nbtool.errors import BudgetError, ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

NAMES = ("max_usd", "max_tokens_total")
"""The settings that are budgets."""


class Budget(float):
    """Be a limit, as a number, and count what is spent under it.

    Each `configure` and each entered `context` that names a budget makes one, which starts at
    nothing. What is spent inside a `context` counts for the budgets around it too.

    Args:
        limit: How much may be spent (>= 0).
        name: The setting it is the value of.
        outer: The budget that this one is laid over.

    Example:
        >>> import nbtool
        >>> with nbtool.context(max_usd=5):
        ...     nbtool.settings.max_usd, nbtool.settings.max_usd.spent
        (5.0, 0.0)
    """

    def __new__(cls, limit: float, name: str, outer: Budget | None = None) -> Self:  # noqa: ARG004 - as `__init__`
        """Make the number."""
        return super().__new__(cls, _number(name, limit))

    def __init__(self, limit: float, name: str, outer: Budget | None = None) -> None:  # noqa: ARG002 - the number is made
        self._name = name
        self._outer = outer
        self._lock = threading.Lock()
        self._spent = 0.0

    @property
    def spent(self) -> float:
        """What was spent so far, in the unit of the setting's name."""
        return self._spent

    def spend(self, amount: float) -> None:
        """Count an amount, here and in the budgets around."""
        for budget in self._chain():
            with budget._lock:  # noqa: SLF001 - one of its own kind
                budget._spent += amount  # noqa: SLF001 - as above

    def check(self, model: str) -> None:
        """Refuse a request if this budget or one around it is used up.

        Args:
            model: Who would be asked.

        Raises:
            BudgetError: As much as the limit was spent, or more.
        """
        for budget in self._chain():
            if budget.spent >= budget:
                raise BudgetError(
                    f"{model!r} was not asked: {budget.spent:,.6g} were spent of "
                    f"{budget._name}={float(budget):,.6g}.",  # noqa: SLF001 - as above
                    model=model,
                    spent=budget.spent,
                    limit=float(budget),
                    hint=f"Raise it: `configure({budget._name}=…)` starts a new count; None "  # noqa: SLF001 - as above
                    f"lifts it.",
                )

    def _chain(self) -> Iterator[Budget]:
        budget: Budget | None = self
        while budget is not None:
            yield budget
            budget = budget._outer  # noqa: SLF001 - as above

    def __reduce__(self) -> tuple[Any, ...]:
        return (float, (float(self),))  # what another process spends is not counted here


def with_budgets(
    values: Mapping[str, Any], around: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """Make budgets of the settings that are limits; all others stay as they are.

    Args:
        values: Settings by name.
        around: Gives the value that one is laid over, by the setting's name.

    Raises:
        ConfigurationError: A limit is no number, or is negative.
    """
    made = dict(values)
    for name in NAMES:
        if made.get(name) is not None:
            outer = around(name) if around is not None else None
            made[name] = Budget(made[name], name, outer if isinstance(outer, Budget) else None)
    return made


def _number(name: str, limit: Any) -> float:
    is_number = isinstance(limit, int | float) and not isinstance(limit, bool)
    if is_number and not math.isnan(limit) and limit >= 0:
        return float(limit)
    raise ConfigurationError(
        f"{name}={limit!r} is no limit: it must be a number, 0 or more.",
        hint=f"Write `configure({name}=10)`, or None for no limit.",
    )
