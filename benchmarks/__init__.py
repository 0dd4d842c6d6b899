"""What a request costs: ``python -m benchmarks``. How to read it: docs/performance.md."""
