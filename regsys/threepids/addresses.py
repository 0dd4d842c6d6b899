"""The rules about third-party identifiers: which are allowed, how they are shown and counted, and
which links a confirmation may lead to (contract B7)."""

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
from regsys.interfaces import IAccountStore, IThreepidStore, IUserLookup
from regsys.interfaces.internal import IThreepidRules
from regsys.model import Threepid, UserID
from regsys.model.canonical_threepids import EMAIL, MSISDN

MAX_NEXT_LINK = 2048
_CLIENT_SECRET = re.compile(r"[0-9A-Za-z.=_-]{1,255}")
# Printable ASCII without the backslash, which browsers treat as a slash.
_LINK = re.compile(r"[!-\[\]-~]+")
_HOST = re.compile(r"[0-9a-z._-]+|[0-9a-f:.]+")


# --- Forms of an identifier -------------------------------------------------------------


def check_assignable(msisdn: str) -> None:
    """Raise InvalidParam for a canonical number that cannot be assigned: sending a code there
    would only cost. Numbers that accounts have already are not checked, since the ranges change."""
    if not phonenumbers.is_valid_number(phonenumbers.parse(f"+{msisdn}")):
        raise InvalidParam("Nobody can have this phone number: check its digits and its country.")


def international(msisdn: str) -> str:
    """A canonical number in international format: ``+49 1511 2345678``."""
    parsed = phonenumbers.parse(f"+{msisdn}")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.INTERNATIONAL)


@functools.cache
def countries() -> Sequence[tuple[str, int]]:
    """The countries whose national numbers are understood: two letters, and the country code."""
    known = sorted(phonenumbers.SUPPORTED_REGIONS)
    return [(country, phonenumbers.country_code_for_region(country)) for country in known]


def mailbox(address: str) -> str:
    """What the spellings of one mailbox have in common, for rate limits only: compatible Unicode
    characters are the same, the part after a ``+`` is dropped, the domain becomes an A-label."""
    local, _, domain = unicodedata.normalize("NFKC", address).casefold().rpartition("@")
    # A domain that is not valid stays as it is.
    with contextlib.suppress(idna.IDNAError):
        domain = idna.encode(domain, uts46=True).decode("ascii")
    return f"{local.partition('+')[0]}@{domain.rstrip('.')}"


# The key of the rate limit that an address of a medium counts against.
LIMIT_KEYS: Mapping[str, Callable[[str], str]] = {EMAIL: mailbox, MSISDN: str}


def check_client_secret(text: str) -> None:
    """Raise InvalidParam for an invalid client secret (contract B7.4)."""
    if not _CLIENT_SECRET.fullmatch(text):
        raise InvalidParam("'client_secret' must be 1 to 255 of the signs 0-9 A-Z a-z . = _ -")


# --- Where a browser is sent after a confirmation ----------------------------------------


def is_safe_link(link: str, domains: Optional[frozenset[str]]) -> bool:
    """Whether a browser may be sent there (contract B7.6). If ``domains`` is None, any host is
    allowed."""
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
    """The link of a request; None if there is none. Raises InvalidParam for a link that is not
    safe."""
    # Some clients send an empty link when they mean none.
    if given and not is_safe_link(given, domains):
        raise InvalidParam("'next_link' leads to an address that is not allowed on this server.")
    return given or None


def redirect_url(link: Optional[str], sid: str, domains: Optional[frozenset[str]]) -> Optional[str]:
    """Where to send the browser: the link with the sid appended, even after a fragment, where
    clients look for it. None if there is no link, or it is no longer allowed."""
    if link is None or not is_safe_link(link, domains):
        return None
    return f"{link}{'&' if '?' in link else '?'}sid={quote(sid)}"


# --- Which identifiers are allowed -------------------------------------------------------


@implementer(IThreepidRules)
@attr.frozen(kw_only=True)
class AllowedThreepids:
    """Checks the callbacks of modules, then ``allowed_local_3pids`` (contract B7.2). Without
    entries all addresses are allowed."""

    callbacks: IThreepidRules
    allowed: Sequence[AllowedThreepid]

    async def is_allowed(self, medium: str, address: str, registering: bool) -> bool:
        if not await self.callbacks.is_allowed(medium, address, registering):
            return False
        # An address is short (MAX_EMAIL), which bounds the cost of a careless pattern.
        return not self.allowed or any(
            item.medium == medium and item.pattern.match(address) for item in self.allowed
        )


@attr.frozen(kw_only=True)
class NewcomersThreepids:
    """Checks the identifiers of a registration twice: when their validation begins, and before the
    account is made (contract B7.2-3). If ``owners`` is None, only the transaction that makes the
    account finds out whether an identifier is taken."""

    rules: IThreepidRules
    accounts: IAccountStore
    owners: Optional[IThreepidStore] = None

    async def check_allowed(self, medium: str, address: str, registering: bool = True) -> None:
        """Raises ThreepidDenied."""
        if not await self.rules.is_allowed(medium, address, registering):
            raise ThreepidDenied()

    async def is_taken(self, medium: str, address: str) -> bool:
        """Whether an account has the identifier, as far as is known before the transaction."""
        owners = self.owners
        return owners is not None and await owners.owner_of(medium, address) is not None

    async def check_free(self, threepids: Iterable[Threepid], key: str) -> None:
        """Raise ThreepidInUse if an account has one of these, unless an account was already made
        under the idempotency key: then it is that account's identifier, and the answer is to be
        repeated."""
        for threepid in threepids:
            if await self.is_taken(threepid.medium, threepid.address):
                if await self.accounts.made_by(key) is None:
                    raise ThreepidInUse()
                return


@attr.frozen(kw_only=True)
class AddressOwners:
    """Finds the account whose password an address resets."""

    threepids: IThreepidStore
    users: IUserLookup

    async def active_owner(self, medium: str, address: str) -> Optional[UserID]:
        """The user who has this address and is not deactivated; None if there is none."""
        owner = await self.threepids.owner_of(medium, address)
        # Looked up in any case, so that the time does not tell whether somebody has the address.
        user = await self.users.find("" if owner is None else owner.localpart)
        return None if user is None or user.deactivated else owner
