"""The rules about third-party identifiers: their one form, who may have them, where links lead
(contract B7)."""

from __future__ import annotations

import contextlib
import functools
import re
import unicodedata
from typing import Callable, Iterable, Mapping, Optional, Sequence
from urllib.parse import quote, urlsplit

import attr
import idna
import phonenumbers
from zope.interface import implementer

from regsys.config import AllowedThreepid
from regsys.errors import InvalidParam, ThreepidDenied, ThreepidInUse
from regsys.interfaces import IAccountStore, IThreepidRules, IThreepidStore
from regsys.model import Threepid

EMAIL = "email"
MSISDN = "msisdn"

MIN_EMAIL, MAX_EMAIL = 3, 500
MAX_NEXT_LINK = 2048
# What means something in a mail's header or envelope, and may stand in an address only between
# quotes, which no mailbox of a person needs; and the three signs that IDNA reads as dots.
_SPECIAL = frozenset('()<>[],;:\\"\u3002\uff0e\uff61')

_CLIENT_SECRET = re.compile(r"[0-9A-Za-z.=_-]{1,255}")
# Printable ASCII but for the backslash, which browsers take for a slash.
_LINK = re.compile(r"[!-\[\]-~]+")
_HOST = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]+")


# --- Canonical forms ---------------------------------------------------------------------


def canonical_email(text: str) -> str:
    """The one form of an address (B7.1): its canonical form is itself. Raises InvalidParam."""
    local, _, written = text.strip().partition("@")
    domain = _canonical_domain(written)
    address = f"{local.casefold()}@{domain}"
    labels = domain.split(".")
    if not local or "@" in domain or not all(labels) or not MIN_EMAIL <= len(address) <= MAX_EMAIL:
        raise InvalidParam("This is not an email address.")
    # Such a local part would be decoded where a mail's headers are made, line ends included.
    if "=?" in address:
        raise InvalidParam("This email address contains a character that is not allowed.")
    # What isn't printable: controls, white space but the blank, invisible signs, surrogates.
    if not address.isprintable() or " " in address or not _SPECIAL.isdisjoint(address):
        raise InvalidParam("This email address contains a character that is not allowed.")
    return address


def _canonical_domain(domain: str) -> str:
    """In small letters, and each label that mail servers know by an A-label in the letters that
    it stands for: the two are one domain. What has no such form stays what it is."""
    domain = domain.lower()
    if domain.isascii() and "xn--" not in domain:
        return domain
    # These are read as dots there, but are none to us.
    if not _SPECIAL.isdisjoint(domain):
        return domain
    try:
        return idna.decode(idna.encode(domain, uts46=True))
    except (idna.IDNAError, UnicodeError):
        return domain


def canonical_msisdn(number: str, country: Optional[str] = None) -> str:
    """A phone number in its one form, the digits of E.164 (B7.1). ``country``: two letters, where
    the number is dialled as it is written; None: it begins with the country's code. Raises
    InvalidParam."""
    text = number if country is not None else f"+{number.strip().lstrip('+')}"
    try:
        parsed = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        raise InvalidParam("This is not a phone number.") from None
    if not phonenumbers.is_possible_number(parsed):
        raise InvalidParam("No phone number can look like this.")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).lstrip("+")


def check_assignable(msisdn: str) -> None:
    """Raise InvalidParam for a number, in its one form, that nobody can have: a code sent there
    would only cost. Numbers that accounts have are not asked about, because the ranges change."""
    if not phonenumbers.is_valid_number(phonenumbers.parse(f"+{msisdn}")):
        raise InvalidParam("Nobody can have this phone number: check its digits and its country.")


def international(msisdn: str) -> str:
    """A number, in its one form, as people write it in any country: ``+49 1511 2345678``."""
    parsed = phonenumbers.parse(f"+{msisdn}")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


@functools.cache
def countries() -> Sequence[tuple[str, int]]:
    """The countries whose numbers can be written as they are dialled there: two letters, and the
    code that their numbers begin with."""
    known = sorted(phonenumbers.SUPPORTED_REGIONS)
    return [(country, phonenumbers.country_code_for_region(country)) for country in known]


# How an address of a medium is brought into its one form.
CANONICAL: Mapping[str, Callable[[str], str]] = {EMAIL: canonical_email, MSISDN: canonical_msisdn}


def canonical_threepid(medium: str, address: str) -> str:
    """The one form of an address of this medium; raises InvalidParam."""
    if medium not in CANONICAL:
        raise InvalidParam("'medium' must be email or msisdn.")
    return CANONICAL[medium](address)


def is_canonical(medium: str, address: str) -> bool:
    """Whether it is the one form of an address of this medium."""
    try:
        return canonical_threepid(medium, address) == address
    except InvalidParam:
        return False


def mailbox(address: str) -> str:
    """What spellings of one mailbox have in common, for limits alone: Unicode's compatible signs
    are the same, what follows a ``+`` doesn't count, a domain is its A-label."""
    local, _, domain = unicodedata.normalize("NFKC", address).casefold().rpartition("@")
    # What is no domain that a mail could reach is its own spelling.
    with contextlib.suppress(idna.IDNAError):
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local.partition('+')[0]}@{domain.rstrip('.')}"


# Whose limit an address of a medium falls under.
LIMIT_KEYS: Mapping[str, Callable[[str], str]] = {EMAIL: mailbox, MSISDN: str}


def check_client_secret(text: str) -> None:
    """Raise InvalidParam for what is no client secret (B7.4)."""
    if not _CLIENT_SECRET.fullmatch(text):
        raise InvalidParam("'client_secret' must be 1 to 255 of the signs 0-9 A-Z a-z . = _ -")


# --- Where a confirmed person goes on ----------------------------------------------------


def is_safe_link(link: str, domains: Optional[frozenset[str]]) -> bool:
    """Whether we may send a browser there (B7.6). If ``domains`` is None, to any host."""
    if len(link) > MAX_NEXT_LINK or not _LINK.fullmatch(link):
        return False
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname, parts.port  # a bad port is a ValueError
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or "@" in parts.netloc:
        return False
    if not host or not _HOST.fullmatch(host):
        return False
    return domains is None or host in domains


def next_link(given: Optional[str], domains: Optional[frozenset[str]]) -> Optional[str]:
    """The link as it was given, None if none was; raises InvalidParam for one that we would
    not follow."""
    # Some clients send an empty one when they mean none.
    if given and not is_safe_link(given, domains):
        raise InvalidParam("'next_link' leads to where this server sends nobody.")
    return given or None


def followed(link: Optional[str], sid: str, domains: Optional[frozenset[str]]) -> Optional[str]:
    """Where to go on, with the session at its end, where clients look for it even behind a
    fragment; None if there is no link or, by now, none that is allowed."""
    if link is None or not is_safe_link(link, domains):
        return None
    return f"{link}{'&' if '?' in link else '?'}sid={quote(sid)}"


# --- Who may have one --------------------------------------------------------------------


@implementer(IThreepidRules)
@attr.frozen(kw_only=True)
class AllowedThreepids:
    """``allowed_local_3pids`` behind the callbacks of modules (B7.2); without entries everybody's
    address is allowed."""

    callbacks: IThreepidRules
    allowed: Sequence[AllowedThreepid]

    async def is_allowed(self, medium: str, address: str, registering: bool) -> bool:
        if not await self.callbacks.is_allowed(medium, address, registering):
            return False
        # An address is short (MAX_EMAIL): that bounds what a careless pattern may cost.
        return not self.allowed or any(
            item.medium == medium and item.pattern.match(address) for item in self.allowed
        )


@attr.frozen(kw_only=True)
class NewcomersThreepids:
    """What must hold of the identifiers that somebody registers with, asked twice: when their proof
    begins, and before the account is made (B7.2-3). If ``owners`` is None, only the transaction
    that makes the account knows who has what."""

    rules: IThreepidRules
    accounts: IAccountStore
    owners: Optional[IThreepidStore] = None

    async def check_allowed(self, medium: str, address: str, registering: bool = True) -> None:
        """Raises ThreepidDenied."""
        if not await self.rules.is_allowed(medium, address, registering):
            raise ThreepidDenied()

    async def is_taken(self, medium: str, address: str) -> bool:
        """Whether an account has it, as far as can be known."""
        owners = self.owners
        return owners is not None and await owners.owner_of(medium, address) is not None

    async def check_free(self, threepids: Iterable[Threepid], key: str) -> None:
        """Raises ThreepidInUse for one that an account has, unless ``key`` has made an account:
        then it is that account's, and the answer is to be repeated."""
        for threepid in threepids:
            if await self.is_taken(threepid.medium, threepid.address):
                if await self.accounts.outcome(key) is None:
                    raise ThreepidInUse()
                return
