"""Loads the configured modules. What one of them does wrong stops the start, with the module's
name, its option and the reason (contract B10.1)."""

from __future__ import annotations

import copy
import importlib
import traceback
from types import ModuleType
from typing import Any, Callable, Iterable, Optional, Union

import attr
from twisted.logger import Logger

from regsys.config import ConfigError, ModulesConfig
from regsys.config.modules import ModuleConfig
from regsys.modules.api import ModuleApi
from regsys.modules.names import ROOT

log = Logger()


@attr.frozen
class LoadedModule:
    """``name`` is its package and class."""

    name: str
    instance: object = attr.field(repr=False)


@attr.frozen
class ParsedModule:
    """A module's class and configuration, which has passed its ``parse_config``. ``place`` is where
    it stands in the file."""

    place: str
    name: str
    make: Callable[..., Any]
    config: Any = attr.field(repr=False)


class _Missing(Exception):
    """The package or class is not there; the text says which."""


def parsed(config: ModulesConfig) -> list[ParsedModule]:
    """The modules' classes, imported, with their parsed configurations. A module that is missing is
    left out with a warning if the configuration says so. Raises ConfigError."""
    found: list[ParsedModule] = []
    problems: list[str] = []
    for index, module in enumerate(config.modules):
        place = f"modules[{index}]"
        try:
            made = _class(module.path)
        except _Missing as error:
            if config.ignore_missing:
                log.warn("module {module} is left out: {reason}", module=module.path, reason=error)
            else:
                mend = "install it, or set regsys.ignore_missing_modules"
                problems.append(_problem(f"{place}.module", module.path, f"{error} — {mend}"))
            continue
        except Exception as error:
            reason = _reason(error, "importing it") + _hint(error)
            problems.append(_problem(f"{place}.module", module.path, reason))
            continue
        result = _parsed(place, module, made)
        if isinstance(result, str):
            problems.append(result)
        else:
            found.append(result)
    if problems:
        raise ConfigError(problems)
    return found


def load(config: ModulesConfig, api: Callable[[str], ModuleApi]) -> tuple[LoadedModule, ...]:
    """The modules, made in their order. ``api`` makes the API object of the module of this name.
    Raises ConfigError."""
    loaded, problems = [], []
    for module in parsed(config):
        try:
            instance = module.make(module.config, api(module.name))
        except Exception as error:
            reason = _reason(error, f"{module.name}(config, api)")
            problems.append(_problem(_option(module.place, error), module.name, reason))
        else:
            loaded.append(LoadedModule(module.name, instance))
            log.info("loaded module {module}", module=module.name)
    if problems:
        raise ConfigError(problems)
    return tuple(loaded)


def _hint(error: Exception) -> str:
    """What an embedder, who has not asked for them, must do for the names of a homeserver."""
    missing = isinstance(error, ModuleNotFoundError) and error.name == ROOT
    return " — call regsys.modules.install_names() before" if missing else ""


def _class(path: str) -> Callable[..., Any]:
    """The class of this path. Raises _Missing, and what the import raises."""
    package, _, name = path.rpartition(".")
    try:
        module: Union[ModuleType, type] = importlib.import_module(package)
    except ModuleNotFoundError as error:
        # Another name is that of something which the module itself imports.
        if error.name is None or not f"{package}.".startswith(f"{error.name}."):
            raise
        raise _Missing(f"there is no package {error.name}") from None
    made = getattr(module, name, None)
    if made is None:
        raise _Missing(f"{package} has no class {name}")
    if not callable(made):
        raise TypeError(f"{name} is no class")
    return made  # type: ignore[no-any-return]  # others' code


def _parsed(place: str, module: ModuleConfig, made: Callable[..., Any]) -> Union[ParsedModule, str]:
    """The module, or the problem with its configuration."""
    # Each module may change its own.
    own = copy.deepcopy(dict(module.config))
    parse = getattr(made, "parse_config", None)
    if parse is not None:
        try:
            own = parse(own)
        except Exception as error:
            return _problem(_option(place, error), module.path, _reason(error, "parse_config"))
    return ParsedModule(place, module.path, made, own)


def _option(place: str, error: Exception) -> str:
    """The option that an error of a module is about: its ``path``, if it has one."""
    path = getattr(error, "path", None)
    names = [path] if isinstance(path, str) else path if isinstance(path, Iterable) else []
    return ".".join([f"{place}.config", *(str(name) for name in names)])


def _problem(option: str, module: str, reason: str) -> str:
    return f"{option}: module {module}: {reason}"


def _reason(error: Exception, what: str) -> str:
    """What went wrong, on one line, and where."""
    text: Optional[object] = getattr(error, "msg", None)
    words = " ".join(str(text if isinstance(text, str) else error).split())
    # The message of some exceptions, such as that of a missing key, says nothing without its class.
    named = words if type(error).__name__ == "ConfigError" else f"{type(error).__name__}: {words}"
    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return f"{what} failed: {named}{where}"
