"""Import DSPy, build a predictor, and say so; the clock runs outside."""

import dspy
from stopwatch import report

predict = dspy.Predict("question -> answer")
report(built=type(predict).__name__)
