"""Lists of email domains that may, or may not, be registered with."""

from __future__ import annotations

import re
from typing import Optional

import attr
import idna

from regsys.config.values import Reader

_DOMAIN = re.compile(r"\.?[0-9a-z_-]+(\.[0-9a-z_-]+)*")


@attr.frozen(kw_only=True)
class EmailDomainsConfig:
    """Paths of lists, as ``read_domains`` takes them; None if there is no such list."""

    allow_file: Optional[str] = None
    deny_file: Optional[str] = None


def read_email_domains(section: Reader) -> EmailDomainsConfig:
    config = EmailDomainsConfig(
        allow_file=section.text("allow_file"), deny_file=section.text("deny_file")
    )
    for name, path in attr.asdict(config).items():
        try:
            if path is not None:
                read_domains(path)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            section.problem(name, f"cannot be used: {reason}", "mend the path or the file", path)
    return config


def read_domains(path: str) -> frozenset[str]:
    """The domains in a file, as A-labels: one a line. A line that begins with a dot stands for a
    domain and its subdomains. Text after a ``#`` is a comment. Raises OSError, or ValueError for a
    line that is not a domain."""
    domains = set()
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file, 1):
            text = line.partition("#")[0].strip()
            if not text:
                continue
            domain = f"{'.' if text.startswith('.') else ''}{a_label(text.lstrip('.'))}"
            if not _DOMAIN.fullmatch(domain):
                raise ValueError(f"line {number} is no domain")
            domains.add(domain)
    return frozenset(domains)


def a_label(domain: str) -> str:
    """The domain as A-labels in lower case; unchanged if IDNA does not allow it."""
    try:
        ascii_form = domain if domain.isascii() else idna.encode(domain, uts46=True).decode("ascii")
    except idna.IDNAError:
        return domain
    return ascii_form.lower().rstrip(".")
