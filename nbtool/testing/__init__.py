"""Test programs against scripted providers and real kernels."""
