"""The names that modules import from ``synapse``, which are regsys's own in this process (contract
B10). ``table`` has them all; docs/modules.md lists them.

They are written from what homeservers document of their module API, and from what published modules
import.
"""

from __future__ import annotations

import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Mapping, NoReturn, Optional

from regsys.config import ConfigError

ROOT = "synapse"
_SEE = "see docs/modules.md for what modules can import"


class OfferedModule(ModuleType):
    """A module of regsys's own under a name of ``synapse``."""

    def __init__(self, name: str, offered: Mapping[str, Any]) -> None:
        super().__init__(name, "Offered to modules by regsys.")
        # A package without files: a name below it that is not offered is asked of _Finder.
        self.__path__: list[str] = []
        self.__spec__ = ModuleSpec(name, None, is_package=True)
        vars(self).update(offered)

    def __getattr__(self, name: str) -> NoReturn:
        raise AttributeError(_missing(f"{self.__name__}.{name}"), name=name, obj=self)


class _Finder(MetaPathFinder):
    """Tells who imports another name of ``synapse`` that it is not here."""

    def find_spec(self, fullname: str, path: object, target: object = None) -> Optional[ModuleSpec]:
        if not fullname.startswith(f"{ROOT}."):
            return None
        parent, _, name = fullname.rpartition(".")
        if name.startswith("__"):
            return None  # the import system itself looks for such names
        # It has the parent's name, because ``from parent import name`` would replace the text of
        # one that has its own.
        raise ModuleNotFoundError(_missing(fullname), name=parent)


def install_names() -> None:
    """From now on ``synapse`` and the modules below it are those that regsys offers, even if the
    real package is installed. Call it before any module is imported; a later call does nothing.

    Raises ConfigError if the real package has been imported already.
    """
    found = sys.modules.get(ROOT)
    if isinstance(found, OfferedModule):
        return
    if found is not None:
        place = getattr(found, "__file__", None) or "an unknown place"
        raise ConfigError(
            [
                f"modules: this process has imported the package {ROOT} already, from {place}, so"
                " that they would not get regsys's own — do not import it, or call"
                " regsys.modules.install_names() before"
            ]
        )
    # Not before: nobody who has no modules loads what they need.
    from regsys.modules.names.table import OFFERED

    made = {name: OfferedModule(name, offered) for name, offered in OFFERED.items()}
    for name, module in made.items():
        parent, _, own = name.rpartition(".")
        if parent:
            setattr(made[parent], own, module)
    sys.modules.update(made)
    sys.meta_path.insert(0, _Finder())


def _missing(name: str) -> str:
    return f"regsys has no {name}, and the package {ROOT} is not used in its processes: {_SEE}"
