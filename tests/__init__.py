"""The tests of regsys: ``python -m tests`` runs them all, ``trial tests.test_x`` some."""
