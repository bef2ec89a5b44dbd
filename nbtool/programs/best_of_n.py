"""`BestOfN`: run a program several times, and take the best answer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from nbtool.programs.module import Module
from nbtool.programs.rollouts import (
    Best,
    Rollout,
    cancelled,
    check_count,
    copy_for,
    rating,
    rolled_out,
)

if TYPE_CHECKING:
    from nbtool.programs.prediction import Prediction
    from nbtool.programs.rollouts import Reward


class BestOfN(Module):
    """Run a program up to N times and return the prediction with the highest reward.

    Each attempt runs a copy of the program, whose LMs sample at temperature 1.0 and have a
    ``rollout_id`` of their own, so that no two attempts share a cached answer. An attempt that
    reaches the threshold ends the search.

    Args:
        module: The program.
        N: Most attempts (>= 1).
        reward_fn: Called with the arguments of the program, as a dict, and its prediction;
            returns how good that is, the higher the better. It may be asynchronous.
        threshold: The first attempt whose reward is at least this is taken.
        fail_count: How many attempts may fail before the error is raised; by default all but
            the last.
        concurrency: How many attempts run at once (>= 1). Those that are no longer needed are
            cancelled.

    Raises:
        InputError: `N` or `concurrency` is no whole number >= 1.

    Example:
        >>> import nbtool
        >>> from nbtool.testing import DummyLM
        >>> def is_short(args, prediction):
        ...     return 1.0 if len(prediction.answer.split()) == 1 else 0.0
        >>> qa = nbtool.Predict("question -> answer")
        >>> best = nbtool.BestOfN(qa, N=3, reward_fn=is_short, threshold=1.0)
        >>> with nbtool.context(lm=DummyLM([{"answer": "I think Paris"}, {"answer": "Paris"}])):
        ...     best(question="Capital of France?").answer
        'Paris'

    Source:
        Names, call shape and rollouts as DSPy's class of that name; `concurrency`, and asynchronous
        rewards, are ours. A `fail_count` of 0 lets none fail here.
    """

    def __init__(
        self,
        module: Module,
        N: int,  # noqa: N803 - DSPy's name
        reward_fn: Reward,
        threshold: float,
        fail_count: int | None = None,
        *,
        concurrency: int = 1,
    ) -> None:
        super().__init__()
        self.module = module
        self.N = check_count("N", N)
        self.reward_fn = rating(reward_fn)
        self.threshold = threshold
        self.fail_count = self.N if fail_count is None else fail_count
        self.concurrency = check_count("concurrency", concurrency)

    async def aforward(self, **inputs: Any) -> Prediction:
        """Run the attempts.

        Args:
            **inputs: Arguments of the program.

        Returns:
            The best prediction. Its steps are what ``settings.trace`` takes up.

        Raises:
            Exception: Too many attempts have failed; the error of the last one.
        """
        best = Best(self.fail_count)
        numbers = iter(range(self.N))
        running: dict[asyncio.Task[Rollout], int] = {}
        try:
            while True:
                for number in numbers:
                    running[self._begun(number, inputs)] = number
                    if len(running) >= self.concurrency:
                        break
                if not running or self._take(best, await _some_ended(running)):
                    return best.taken()
        finally:
            await cancelled(set(running))

    def _begun(self, number: int, inputs: dict[str, Any]) -> asyncio.Task[Rollout]:
        attempt = rolled_out(copy_for(self.module, number), number, inputs, self.reward_fn)
        return asyncio.create_task(attempt, name=f"attempt {number + 1}")

    def _take(self, best: Best, ended: list[tuple[int, asyncio.Task[Rollout]]]) -> bool:
        """Take attempts up; tell whether one is good enough."""
        for number, task in ended:
            error = task.exception()
            if isinstance(error, Exception):
                best.failed("BestOfN", number, error)
            else:
                best.add(task.result())
        return best.rollout is not None and best.rollout.reward >= self.threshold


async def _some_ended(
    running: dict[asyncio.Task[Rollout], int],
) -> list[tuple[int, asyncio.Task[Rollout]]]:
    """Wait until some attempts have ended, and take them out, in order."""
    done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    return sorted((running.pop(task), task) for task in done)
