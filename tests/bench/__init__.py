"""Measured figures, both sides in one run: `make bench`, or one by `python -m tests.bench.bench_NAME`."""
