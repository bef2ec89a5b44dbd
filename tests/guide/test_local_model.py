"""The guide's programs on the embedded model: each asserts what only a right run gives.

``NBTOOL_SEEDS`` says with how many seeds (2 by default, 10 in ``make test-all``); of ten, nine must
be right.
"""

import asyncio
import json
import os
from pathlib import Path

import pytest

import nbtool

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "guide"
SEEDS = int(os.environ.get("NBTOOL_SEEDS", "2"))
AS_WRITTEN = 'dspy.LM(os.environ.get("MODEL", "local"))'

pytestmark = [pytest.mark.local, pytest.mark.timeout(600)]


def went_right(path, seed):
    """Run a program as a script does, and tell whether its own assertions hold."""
    source = path.read_text("utf-8").replace(AS_WRITTEN, f'dspy.LM("local", seed={seed})')
    try:
        with nbtool.trace() as t:
            exec(compile(source, str(path), "exec"), {"__name__": "__main__"})  # noqa: S102
    except AssertionError:
        return False
    answers = [span.output[0] for span in t.find(kind="lm")]
    return all(isinstance(json.loads(answer), dict) for answer in answers)  # without repair


@pytest.mark.parametrize("path", sorted(GUIDE.glob("*.py")), ids=lambda path: path.stem)
def test_program_is_right_on_nine_of_ten_seeds(path):
    right = [went_right(path, seed) for seed in range(SEEDS)]

    assert sum(right) >= SEEDS - SEEDS // 10, right


def test_trace_says_that_it_is_a_demo_model():
    with nbtool.context(lm=nbtool.LM("local", seed=0)), nbtool.trace() as t:
        nbtool.Predict("question -> answer")(question="What is the capital of France?")

    assert "local (demo model)" in str(t)


def test_cancelled_call_frees_the_model_at_once():
    async def main():
        lm = nbtool.LM("local", max_tokens=1500)
        await lm.acall("Count to a thousand.", max_tokens=5)  # starts the server
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lm.acall("Tell a very long story."), 0.5)
        return await asyncio.wait_for(lm.acall("Say hi.", max_tokens=3), 20)

    assert asyncio.run(main())
