"""The canonical form of third-party identifiers (contract B7.1)."""

from __future__ import annotations

from typing import Callable, Mapping, Optional

import idna

from regsys.errors import InvalidParam

EMAIL = "email"
MSISDN = "msisdn"

MIN_EMAIL, MAX_EMAIL = 3, 500
# Characters with a meaning in a mail's header or envelope, which an address may contain only inside
# quotes (no person's mailbox needs them); and the three characters that IDNA reads as dots.
_SPECIAL = frozenset('()<>[],;:\\"\u3002\uff0e\uff61')


def canonical_email(text: str) -> str:
    """The canonical form of an email address (contract B7.1). Idempotent. Raises InvalidParam."""
    local, _, written = text.strip().partition("@")
    domain = _canonical_domain(written)
    address = f"{local.casefold()}@{domain}"
    labels = domain.split(".")
    if not local or "@" in domain or not all(labels) or not MIN_EMAIL <= len(address) <= MAX_EMAIL:
        raise InvalidParam("This is not an email address.")
    # A mail library would decode such a local part in a header, line ends included.
    if "=?" in address:
        raise InvalidParam("This email address contains a character that is not allowed.")
    # Not printable: control and invisible characters, surrogates, white space other than a space.
    if not address.isprintable() or " " in address or not _SPECIAL.isdisjoint(address):
        raise InvalidParam("This email address contains a character that is not allowed.")
    return address


def _canonical_domain(domain: str) -> str:
    """Lower-cased, with A-labels decoded to Unicode, since both forms name one domain. A domain
    that IDNA cannot decode is only lower-cased."""
    domain = domain.lower()
    if domain.isascii() and "xn--" not in domain:
        return domain
    # IDNA would read some of these as dots.
    if not _SPECIAL.isdisjoint(domain):
        return domain
    try:
        return idna.decode(idna.encode(domain, uts46=True))
    except (idna.IDNAError, UnicodeError):
        return domain


def canonical_msisdn(number: str, country: Optional[str] = None) -> str:
    """The canonical form of a phone number: the digits of E.164 (contract B7.1). ``country``: two
    letters, the country where the number can be dialled as written; if it is None, the number
    begins with the country code. Raises InvalidParam."""
    # The metadata of phone numbers takes longer to import than all other values together, and
    # commands that know no number have no need of it.
    import phonenumbers

    text = number if country is not None else f"+{number.strip().lstrip('+')}"
    try:
        parsed = phonenumbers.parse(text, country)
    except phonenumbers.NumberParseException:
        raise InvalidParam("This is not a phone number.") from None
    if not phonenumbers.is_possible_number(parsed):
        raise InvalidParam("No phone number can look like this.")
    return phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164).lstrip("+")


# What makes an address of a medium canonical.
CANONICAL: Mapping[str, Callable[[str], str]] = {EMAIL: canonical_email, MSISDN: canonical_msisdn}


def canonical_threepid(medium: str, address: str) -> str:
    """The canonical form of an address of this medium. Raises InvalidParam."""
    if medium not in CANONICAL:
        raise InvalidParam("'medium' must be email or msisdn.")
    return CANONICAL[medium](address)


def is_canonical(medium: str, address: str) -> bool:
    """Whether this is the canonical form of an address of this medium."""
    try:
        return canonical_threepid(medium, address) == address
    except InvalidParam:
        return False
