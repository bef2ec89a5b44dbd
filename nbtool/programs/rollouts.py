"""Rollouts: a program run again with other samples, and the best of them."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Any, TypeAlias

from nbtool.configuration import context, settings
from nbtool.errors import MISUSE, BudgetError, InputError
from nbtool.programs.predict import lm_for
from nbtool.runtime.callables import awaited

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbtool.programs.module import Module
    from nbtool.programs.prediction import Prediction

    Reward: TypeAlias = Callable[[dict[str, Any], Prediction], Any]

Inputs = dict[str, Any]

_TEMPERATURE = 1.0  # so that rollouts differ
_log = logging.getLogger("nbtool")


@dataclasses.dataclass(slots=True)
class Rollout:
    """Hold what came of one run.

    Attributes:
        number: Which of the runs it was, from 0.
        program: The copy that ran.
        prediction: What it returned.
        reward: How good that is.
        trace: What its predictors were asked and answered: (predictor, inputs, prediction).
    """

    number: int
    program: Module
    prediction: Prediction
    reward: float
    trace: list[Any]


def copy_for(module: Module, number: int) -> Module:
    """Return a copy of a program whose LMs sample anew.

    Args:
        module: The program; each of its predictors keeps its own LM.
        number: Which of the runs it is for, from 0.

    Raises:
        LMNotConfiguredError: A predictor has no LM.
    """
    twin = module.deepcopy()
    for predictor in twin.predictors():
        lm = lm_for(predictor.lm)
        first = lm.kwargs.get("rollout_id") or 0
        predictor.lm = lm.copy(rollout_id=first + number, temperature=_TEMPERATURE)
    return twin


async def rolled_out(program: Module, number: int, inputs: Inputs, reward_fn: Reward) -> Rollout:
    """Run a copy of a program and rate what it returns.

    Args:
        program: The copy.
        number: Which of the runs it is, from 0.
        inputs: Arguments of the program.
        reward_fn: Rates arguments and prediction; it may be asynchronous.
    """
    trace: list[Any] = []
    async with context(trace=trace):
        prediction = await program.acall(**inputs)
        told = trace.copy()  # without what the rating asks
        reward = await awaited(reward_fn, inputs, prediction)
    return Rollout(number, program, prediction, float(reward), told)


def rating(reward_fn: Reward) -> Reward:
    """Wrap what rates: a module that does is no part of the program that is rated."""

    def rate(args: Inputs, prediction: Prediction) -> Any:
        return reward_fn(args, prediction)

    return rate


class Best:
    """Keep the best of some rollouts, and count the failed ones.

    Args:
        fail_count: How many may fail.

    Attributes:
        rollout: The best one so far; of equal ones the first.
    """

    def __init__(self, fail_count: int) -> None:
        self.rollout: Rollout | None = None
        self._left = fail_count
        self._last_error: Exception | None = None

    def add(self, rollout: Rollout) -> None:
        """Take a rollout up."""
        best = self.rollout
        if best is None or (rollout.reward, -rollout.number) > (best.reward, -best.number):
            self.rollout = rollout

    def failed(self, name: str, number: int, error: Exception) -> None:
        """Take note of a failed one.

        Raises:
            Exception: The error itself, where no further rollout may fail, or could do better.
        """
        if isinstance(error, (*MISUSE, BudgetError)) or self._left <= 0:
            raise error
        _log.warning("%s: attempt %d failed: %s", name, number + 1, error)
        self._left -= 1
        self._last_error = error

    def taken(self) -> Prediction:
        """Return the best prediction, and put its trace into the one of the settings.

        Raises:
            Exception: The error of the last rollout, where all have failed.
        """
        if self.rollout is None:
            raise self._last_error or InputError("No rollout has been made.", hint="Use N >= 1.")
        if settings.trace is not None:
            settings.trace.extend(self.rollout.trace)
        return self.rollout.prediction


def check_count(name: str, n: Any) -> int:
    """Return a number of rollouts, or steps, if it is one.

    Raises:
        InputError: It is not a whole number >= 1.
    """
    if not isinstance(n, int) or isinstance(n, bool) or n < 1:
        raise InputError(f"{name} must be a whole number >= 1, not {n!r}.", hint=f"Use {name}=3.")
    return n


async def cancelled(tasks: set[asyncio.Task[Any]]) -> None:
    """Cancel tasks and wait for their ends."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
