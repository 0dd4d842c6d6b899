"""The registration subsystem of a Matrix homeserver.

Public are the names below, ``regsys.interfaces``, ``regsys.model``, ``regsys.errors``,
``regsys.http`` and ``regsys.testing``; the rest may move.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0.dev0"

_PUBLIC = {
    "Config": "regsys.config",
    "ConfigError": "regsys.config",
    "Confirmation": "regsys.uia.confirmation",
    "ConfirmationRequest": "regsys.uia.confirmation",
    "Confirmed": "regsys.uia.confirmation",
    "Hooks": "regsys.subsystem",
    "RegistrationHandler": "regsys.handler",
    "Subsystem": "regsys.subsystem",
    "challenged": "regsys.web.answers",
    "embedded": "regsys.build",
    "hooks": "regsys.subsystem",
    "load": "regsys.config",
    "parse": "regsys.config",
    "standalone": "regsys.build",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    # Imported when asked for: who wants a value of ``regsys.model`` need not load a web server.
    if name not in _PUBLIC:
        raise AttributeError(f"module 'regsys' has no attribute {name!r}")
    return getattr(import_module(_PUBLIC[name]), name)
