"""Names that people do not choose: made of the address that they have proven (contract B12.3)."""

from __future__ import annotations

import itertools
import re
from typing import Callable, Optional

import attr

from regsys.accounts.usernames import Usernames
from regsys.config import ThreepidsConfig
from regsys.errors import UsernameReserved, UsernameTaken
from regsys.model import MAX_USER_ID_BYTES, Registration, Threepid

# More accounts than this with one name but for its number: a number alone is as good a name.
SUFFIXES = 1000
# So long is the longest of them at most, that a user ID may be with its server's name.
MAX_USER_ID = MAX_USER_ID_BYTES - len("@:999")

_INVALID = re.compile(r"[^a-z0-9._=/+-]")


def localpart_of(threepid: Threepid) -> str:
    """The name that an address makes: ``alice@mail.example`` is
    ``alice-mail.example``; a phone number keeps its ``+``, as digits alone are no name."""
    address = threepid.address if threepid.medium == "email" else f"+{threepid.address}"
    # Only ASCII is lower-cased: no other character may become a letter (B1.1).
    ascii_only = address.encode("ascii", "ignore").decode("ascii")
    return _INVALID.sub("", ascii_only.lower().replace("@", "-")).lstrip("_")


def display_name_of(email: str) -> str:
    """What people are called by their address: ``jean-luc.picard@…`` is ``Jean-Luc Picard``."""
    words = re.split(r"[._\s]+", email.rpartition("@")[0].partition("+")[0])
    return " ".join(word.title() for word in words if word) or email


@attr.frozen(kw_only=True)
class ThreepidNames:
    """``display_name`` makes a name to be shown of an email address, in its canonical form."""

    names: Usernames
    config: ThreepidsConfig
    display_name: Callable[[str], str] = display_name_of

    async def named(self, registration: Registration) -> Registration:
        """The same, with the names that its addresses make, where they are to be used. A guest
        who becomes a user keeps its own."""
        is_guest = registration.guest_access_token is not None or registration.guest_id is not None
        if is_guest or not registration.threepids:
            return registration
        registration = attr.evolve(registration, display_name=self._display_name(registration))
        source = _first(registration, self.config.name_from)
        if source is None:
            return registration
        localpart = await self._free(localpart_of(source), registration.key)
        return attr.evolve(registration, localpart=localpart, name_checked=localpart is not None)

    @property
    def may_replace(self) -> bool:
        """Whether an account may have got another name than was asked for."""
        return self.config.name_from is not None

    async def _free(self, name: str, key: str) -> Optional[str]:
        """The name, with the first number that makes it free; the one that this ``key`` has taken
        is still its own. None: a number is to be drawn."""
        name = name[: MAX_USER_ID - len(self.names.server_name.encode())]
        for suffix in itertools.chain([""], range(1, SUFFIXES)):
            try:
                await self.names.check(f"{name}{suffix}", key=key)
                return f"{name}{suffix}"
            except (UsernameTaken, UsernameReserved):
                continue
        return None

    def _display_name(self, registration: Registration) -> Optional[str]:
        email = _first(registration, "email")
        if email is not None and self.config.email_is_display_name:
            return email.address
        if email is not None and self.config.name_from == "email":
            return self.display_name(email.address)
        return registration.display_name


def _first(registration: Registration, medium: Optional[str]) -> Optional[Threepid]:
    return next((item for item in registration.threepids if item.medium == medium), None)
