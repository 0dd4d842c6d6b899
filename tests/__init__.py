"""The tests of regsys: ``python -m tests`` runs them all, ``trial tests.test_x`` some."""

import os

# Hundreds of processes are started, and each would compile all our modules anew, for a quarter of
# the time that a service takes to be ready.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
