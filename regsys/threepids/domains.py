"""Mail domains that may, or may not, be registered with: by files that may change at any time."""

from __future__ import annotations

import os
from typing import Callable, Optional, Sequence

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.config import ConfigError, EmailDomainsConfig
from regsys.config.email_domains import a_label, read_domains
from regsys.interfaces import IThreepidRules

# A change takes effect after so long at most.
LOOK_S = 5.0

_log = Logger()


@attr.define(eq=False)
class DomainFile:
    """A list that is read again when its file has changed. One that is missing or broken by then
    is complained of, and the last good one goes on. ``seconds`` is a clock that never goes back."""

    path: str
    seconds: Callable[[], float]
    _domains: frozenset[str]
    _stamp: object
    _looked_s: float

    @classmethod
    def load(cls, path: str, seconds: Callable[[], float]) -> DomainFile:
        """ConfigError if there is no good list to begin with."""
        try:
            return cls(path, seconds, read_domains(path), _stamp(path), seconds())
        except (OSError, ValueError) as error:
            raise ConfigError([f"{path}: cannot be used: {error} — mend it"]) from None

    def has(self, domain: str) -> bool:
        """Whether this domain, an A-label, is in it, or below one that stands for all below."""
        self._look()
        labels = domain.split(".")
        above = (".".join(labels[start:]) for start in range(len(labels)))
        return domain in self._domains or any(f".{parent}" in self._domains for parent in above)

    def reload(self) -> Sequence[str]:
        """Read the file now, and return what has changed, in words for the log. A file that cannot
        be used is logged, and the last good list stays."""
        before, self._looked_s, self._stamp = self._domains, self.seconds(), _stamp(self.path)
        try:
            self._domains = read_domains(self.path)
        except (OSError, ValueError) as error:
            _log.error(
                "{path} cannot be used, so the list of before goes on: {reason}",
                path=self.path,
                reason=str(error),
            )
        if self._domains == before:
            return []
        more, fewer = len(self._domains - before), len(before - self._domains)
        return [f"{self.path} ({more} domains more, {fewer} fewer)"]

    def _look(self) -> None:
        now_s = self.seconds()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        if _stamp(self.path) != self._stamp:
            for change in self.reload():
                _log.info("reloaded: {change}", change=change)


def _stamp(path: str) -> object:
    """What differs once a file has changed; None: it is not there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


@implementer(IThreepidRules)
@attr.frozen(kw_only=True)
class EmailDomains:
    """The lists, behind all other rules: who is on ``deny`` may not, whoever else says so; with
    an ``allow``, only who is on it may. None: no such list."""

    rules: IThreepidRules
    allow: Optional[DomainFile]
    deny: Optional[DomainFile]

    @classmethod
    def of(
        cls, rules: IThreepidRules, config: EmailDomainsConfig, seconds: Callable[[], float]
    ) -> EmailDomains:
        allow, deny = (
            None if path is None else DomainFile.load(path, seconds)
            for path in (config.allow_file, config.deny_file)
        )
        return cls(rules=rules, allow=allow, deny=deny)

    @property
    def files(self) -> Sequence[DomainFile]:
        return [file for file in (self.allow, self.deny) if file is not None]

    async def is_allowed(self, medium: str, address: str, registering: bool) -> bool:
        if not await self.rules.is_allowed(medium, address, registering):
            return False
        if medium != "email":
            return True
        domain = a_label(address.rpartition("@")[2])
        if self.deny is not None and self.deny.has(domain):
            return False
        return self.allow is None or self.allow.has(domain)
