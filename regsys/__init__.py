"""The registration subsystem of a Matrix homeserver.

The names below, ``regsys.interfaces``, ``regsys.model``, ``regsys.errors``, ``regsys.http`` and
``regsys.testing`` are public; the rest may move. After ``import regsys`` all of them are there.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    # For type checkers and editors. At run time ``__getattr__`` imports the same names.
    from regsys import errors as errors
    from regsys import http as http
    from regsys import interfaces as interfaces
    from regsys import model as model
    from regsys import testing as testing
    from regsys.accounts.handler import RegistrationHandler
    from regsys.config import Config, ConfigError, load, parse
    from regsys.uia.reauthentication import (
        Reauthenticated,
        Reauthentication,
        ReauthenticationRequest,
    )
    from regsys.web.responses import challenge_json
    from regsys.wiring import embedded, standalone, worker
    from regsys.wiring.subsystem import Hooks, Subsystem, hooks

__version__ = "0.1.0.dev0"

__all__ = [
    "Config",
    "ConfigError",
    "Hooks",
    "Reauthenticated",
    "Reauthentication",
    "ReauthenticationRequest",
    "RegistrationHandler",
    "Subsystem",
    "challenge_json",
    "embedded",
    "hooks",
    "load",
    "parse",
    "standalone",
    "worker",
]

# The modules that define the public names, each imported when one of its names is first used: a
# program that needs only a value of ``regsys.model`` does not load a web server.
_MODULES = {
    "regsys.wiring": ("embedded", "standalone", "worker"),
    "regsys.config": ("Config", "ConfigError", "load", "parse"),
    "regsys.accounts.handler": ("RegistrationHandler",),
    "regsys.wiring.subsystem": ("Hooks", "Subsystem", "hooks"),
    "regsys.uia.reauthentication": (
        "Reauthentication",
        "ReauthenticationRequest",
        "Reauthenticated",
    ),
    "regsys.web.responses": ("challenge_json",),
}
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
_SUBMODULES = ("errors", "http", "interfaces", "model", "testing")


def __getattr__(name: str) -> object:
    if name in _SUBMODULES:
        return import_module(f"regsys.{name}")
    if name not in _MODULE_OF:
        raise AttributeError(f"module 'regsys' has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULE_OF[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_SUBMODULES})
