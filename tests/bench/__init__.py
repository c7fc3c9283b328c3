"""Measured figures, both sides of a comparison in one run: `make bench`, or one by `python -m tests.bench.bench_NAME`."""
