"""What our own stores and parts must do, as suites that their tests mix in.

The suites of what an embedder may bring are in ``regsys.testing.contracts``.
"""
