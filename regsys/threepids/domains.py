"""Files that list the mail domains that are allowed or denied. They may change at any time."""

from __future__ import annotations

import os
from typing import Callable, Optional, Sequence

import attr
from twisted.logger import Logger
from zope.interface import implementer

from regsys.config import ConfigError, EmailDomainsConfig
from regsys.config.email_domains import a_label, read_domains
from regsys.interfaces.internal import IThreepidRules

# How often a file is checked for changes.
CHECK_S = 5.0

_log = Logger()


@attr.define(eq=False)
class DomainFile:
    """A list that is read again when its file has changed. If the file is missing or broken then,
    an error is logged and the last good list stays in use. ``seconds``: a monotonic clock."""

    path: str
    seconds: Callable[[], float]
    _domains: frozenset[str]
    _stamp: object
    _checked_s: float

    @classmethod
    def load(cls, path: str, seconds: Callable[[], float]) -> DomainFile:
        """Read the file. Raises ConfigError if it is missing or broken."""
        try:
            return cls(path, seconds, read_domains(path), _stamp(path), seconds())
        except (OSError, ValueError) as error:
            raise ConfigError([f"{path}: cannot be used: {error} — mend it"]) from None

    def has(self, domain: str) -> bool:
        """Whether this domain, as A-labels, is listed, or is below an entry for all subdomains."""
        self._reload_if_changed()
        labels = domain.split(".")
        above = (".".join(labels[start:]) for start in range(len(labels)))
        return domain in self._domains or any(f".{parent}" in self._domains for parent in above)

    def reload(self) -> Sequence[str]:
        """Read the file now, and return what has changed, in words for the log. A file that cannot
        be used is logged, and the last good list stays."""
        before, self._checked_s, self._stamp = self._domains, self.seconds(), _stamp(self.path)
        try:
            self._domains = read_domains(self.path)
        except (OSError, ValueError) as error:
            _log.error(
                "{path} cannot be used, the earlier list stays in use: {reason}",
                path=self.path,
                reason=str(error),
            )
        if self._domains == before:
            return []
        more, fewer = len(self._domains - before), len(before - self._domains)
        return [f"{self.path} ({more} domains more, {fewer} fewer)"]

    def _reload_if_changed(self) -> None:
        now_s = self.seconds()
        if now_s - self._checked_s < CHECK_S:
            return
        self._checked_s = now_s
        if _stamp(self.path) != self._stamp:
            for change in self.reload():
                _log.info("reloaded: {change}", change=change)


def _stamp(path: str) -> object:
    """A value that differs once the file has changed; None if there is no file."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino


@implementer(IThreepidRules)
@attr.frozen(kw_only=True)
class EmailDomains:
    """Checks the other ``rules``, then the lists: a domain on ``deny`` is refused; if there is an
    ``allow`` list, all domains that are not on it are. Either may be None."""

    rules: IThreepidRules
    allow: Optional[DomainFile]
    deny: Optional[DomainFile]

    @classmethod
    def load(
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
