"""How long one waits in a fresh process until there is a predictor."""

from __future__ import annotations

from bench.environments import competitor, own
from bench.interleaving import medians
from bench.registry import Pair, case


@case(name="import + first predictor", unit="s", target=0.35, against="DSPy 3.4.1")
def first_predictor() -> Pair:
    """Start a process that imports the package and builds ``Predict("question -> answer")``."""
    nbtool, dspy = own(), competitor("dspy")
    # Once unmeasured: bytecode is compiled, and files come into the system's cache.
    nbtool.seconds_to_report("nbtool_first_predictor.py")
    dspy.seconds_to_report("dspy_first_predictor.py")
    return medians(
        lambda: nbtool.seconds_to_report("nbtool_first_predictor.py"),
        lambda: dspy.seconds_to_report("dspy_first_predictor.py"),
    )
