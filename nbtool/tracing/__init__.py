"""The trace: one boundary round every step, and what watches it.

`boundary.traced` is the only place that opens spans. Instruments are told when a span opens and
closes; the recorder is the one that is always on. Nothing here knows what an LM is.
"""
