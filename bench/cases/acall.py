"""What the framework itself costs, where the model answers at once."""

from __future__ import annotations

from bench.environments import competitor, own
from bench.interleaving import medians
from bench.registry import Pair, case


@case(name="framework cost of one acall", unit="us", target=1.0, against="DSPy 3.4.1")
def framework_cost() -> Pair:
    """Call a predictor in sequence, in a fresh process for each repeat."""
    # Ours first: it fails at once where there is nothing to measure.
    nbtool, dspy = own(), competitor("dspy")
    return medians(
        lambda: nbtool.report("nbtool_acall.py")["figure"],
        lambda: dspy.report("dspy_acall.py")["figure"],
    )
