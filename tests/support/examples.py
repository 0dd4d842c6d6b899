"""The programs of docs/examples as modules."""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "docs/examples"

# They import each other by name, as when they are run in their folder.
sys.path.insert(0, str(EXAMPLES))
store = import_module("store")
embedding = import_module("embedding")
confirming = import_module("confirming")
neighbours = import_module("neighbours")
callers = import_module("callers")
