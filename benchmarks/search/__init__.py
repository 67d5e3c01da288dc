"""Neighbour search against other libraries: ``python -m benchmarks.search``."""
