"""Parity: what in a notebook would behave differently as a script, and the reverse."""
