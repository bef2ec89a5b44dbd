"""Measure nbtool beside its competitors: ``python -m bench`` from the repository root."""
