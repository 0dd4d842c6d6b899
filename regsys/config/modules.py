"""The modules that are loaded: ``modules``, and what is said of them in ``regsys``."""

from __future__ import annotations

import re
from typing import Any, Mapping

import attr

from regsys.config.values import Reader, is_url
from regsys.model import JOB_LEASE_MS

# Of a callback, unless the configuration says otherwise.
DEADLINE_MS = 10_000
# With hyphens, which some packages have in their names.
_CLASS = re.compile(r"[^\W\d][\w-]*(\.[^\W\d][\w-]*)+")
# The module that ``regsys.threepid_checker`` loads.
THREEPID_CHECKER = "regsys.modules.ThreepidChecker"


@attr.frozen
class ModuleConfig:
    """``path``: package and class, such as ``my_module.MyClass``. ``config``: the module's own."""

    path: str
    config: Mapping[str, Any] = attr.field(repr=False)


@attr.frozen(kw_only=True)
class ModulesConfig:
    """``ignore_missing``: a module that is not installed is left out. ``deadline_ms``: how long a
    callback of a module or embedder may take."""

    modules: tuple[ModuleConfig, ...] = ()
    ignore_missing: bool = False
    deadline_ms: int = DEADLINE_MS


def read_modules(reader: Reader) -> ModulesConfig:
    own = reader.section("regsys")
    found = [_read_module(item) for item in reader.items("modules")]
    found += _read_threepid_checker(own.section("threepid_checker"))
    deadline_ms = own.duration("module_deadline")
    if deadline_ms is not None and deadline_ms >= JOB_LEASE_MS:
        # Else another process could begin the same job meanwhile.
        mend = "write less than a minute"
        own.problem("module_deadline", "too long", mend, own.data["module_deadline"])
    return ModulesConfig(
        modules=tuple(found),
        ignore_missing=own.flag("ignore_missing_modules"),
        deadline_ms=DEADLINE_MS if deadline_ms is None else deadline_ms,
    )


def _read_threepid_checker(section: Reader) -> list[ModuleConfig]:
    """The module of ours, if it is configured: the last of all, so that others may refuse an
    address before it is asked."""
    url, alone = section.text("url"), section.flag("only_check_at_registration")
    mend = "write the address that is asked, such as https://example.com/allowed"
    if url is None:
        if alone:
            section.problem("url", "missing", mend)
        return []
    if not is_url(url) or "#" in url:
        # Without the value: it may hold a secret.
        section.problem("url", "not an http or https address", mend)
    return [ModuleConfig(THREEPID_CHECKER, {"url": url, "only_check_at_registration": alone})]


def _read_module(item: Reader) -> ModuleConfig:
    path, config = item.text("module"), item.take("config")
    mend = "write its package and class, such as my_module.MyClass"
    if path is None:
        if item.data.get("module") in (None, ""):
            item.problem("module", "missing", mend)
    elif not _CLASS.fullmatch(path):
        item.problem("module", "not the name of a class", mend, path)
    if config is not None and not isinstance(config, Mapping):
        item.problem("config", "not a mapping", "write the module's options below it")
        config = None
    return ModuleConfig(path or "", config or {})
