"""Measures what requests cost: ``python -m benchmarks``. docs/performance.md explains the
output."""
