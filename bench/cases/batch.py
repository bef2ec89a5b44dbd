"""What many rows cost, where the model answers at once."""

from __future__ import annotations

from bench.environments import competitor, own
from bench.interleaving import medians
from bench.registry import Pair, case


@case(name="framework cost of one row of a batch", unit="us", target=1.0, against="DSPy 3.4.1")
def row_of_a_batch() -> Pair:
    """Run a batch of rows, 8 at once, in a fresh process for each repeat."""
    nbtool, dspy = own(), competitor("dspy")  # ours first, as for one acall
    return medians(
        lambda: nbtool.report("nbtool_batch.py")["figure"],
        lambda: dspy.report("dspy_batch.py")["figure"],
    )
