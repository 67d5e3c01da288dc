"""Speed and memory of each runtime and precision against other libraries: ``python -m benchmarks.speed``."""
