"""The names that modules import, in the process of the tests."""

from __future__ import annotations

import sys
import unittest

from regsys.modules import install_names
from regsys.modules.names import ROOT, OfferedModule


def with_names(case: unittest.TestCase) -> None:
    """Install the names until the test ends; what it has imported by then is forgotten, too."""
    before, finders = dict(sys.modules), list(sys.meta_path)

    def restore() -> None:
        sys.meta_path[:] = finders
        for name, module in list(sys.modules.items()):
            if isinstance(module, OfferedModule) or (name not in before and needs_names(module)):
                del sys.modules[name]

    case.addCleanup(restore)
    install_names()


def needs_names(module: object) -> bool:
    """Whether it has a name of one of the modules that are offered: it was made for this test."""
    return any(
        isinstance(value, OfferedModule)
        or str(getattr(value, "__module__", "")).startswith("regsys.modules")
        for value in vars(module).values()
    ) and not str(getattr(module, "__name__", "")).startswith(("regsys", "tests", ROOT))
