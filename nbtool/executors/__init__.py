"""Executors: one program over many rows. They serve any coroutine function, and know no LM."""
