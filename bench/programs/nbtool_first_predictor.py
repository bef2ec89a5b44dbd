"""Import nbtool, build a predictor, and say so; the clock runs outside."""

from stopwatch import report

import nbtool

predict = nbtool.Predict("question -> answer")
report(built=type(predict).__name__)
