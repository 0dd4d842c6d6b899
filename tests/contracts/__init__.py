"""What the stores and parts that are ours alone promise, as suites that their tests mix in.

The suites of what an embedder may bring are in ``regsys.testing.contracts``.
"""
