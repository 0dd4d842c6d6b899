"""User names and display names that are derived from a validated address (contract B12.3)."""

from __future__ import annotations

import itertools
import re
from typing import Callable, Optional

import attr

from regsys.accounts.usernames import Usernames
from regsys.config import ThreepidsConfig
from regsys.errors import InvalidUsername, UsernameReserved, UsernameTaken
from regsys.model import Registration, Threepid
from regsys.model.identity import MAX_USER_ID_BYTES

# If a name is taken with all of these suffixes, a generated number is as good a name.
SUFFIXES = 1000
# A rule or namespace that refuses so many of them is about what is before the suffix.
REFUSED = 10
# The length of name and server name, with room for the signs and the longest suffix.
MAX_USER_ID = MAX_USER_ID_BYTES - len("@:999")

_INVALID = re.compile(r"[^a-z0-9._=/+-]")


def localpart_of(threepid: Threepid) -> str:
    """The name for an address: ``alice@mail.example`` becomes ``alice-mail.example``. A phone
    number keeps its ``+``, as digits alone are no valid name."""
    address = threepid.address if threepid.medium == "email" else f"+{threepid.address}"
    # Only ASCII is lower-cased: no other character may become a letter (B1.1).
    ascii_only = address.encode("ascii", "ignore").decode("ascii")
    return _INVALID.sub("", ascii_only.lower().replace("@", "-")).lstrip("_")


def display_name_of(email: str) -> str:
    """The display name for an address: ``jean-luc.picard@…`` becomes ``Jean-Luc Picard``."""
    words = re.split(r"[._\s]+", email.rpartition("@")[0].partition("+")[0])
    return " ".join(word.title() for word in words if word) or email


def keeps_name(registration: Registration) -> bool:
    """Whether a guest becomes a user, and keeps its name."""
    return registration.guest_access_token is not None or registration.guest_id is not None


@attr.frozen(kw_only=True)
class ThreepidNames:
    """``display_name`` derives a display name from a canonical email address."""

    names: Usernames
    config: ThreepidsConfig
    display_name: Callable[[str], str] = display_name_of

    async def with_names(self, registration: Registration) -> Registration:
        """The registration with the names that follow from its addresses, as configured. A guest
        who becomes a user keeps its name."""
        if keeps_name(registration) or not registration.threepids:
            return registration
        registration = attr.evolve(registration, display_name=self._display_name(registration))
        source = _first(registration, self.config.name_from)
        if source is None:
            return registration
        localpart = await self._free(localpart_of(source), registration.key)
        return attr.evolve(registration, localpart=localpart, name_checked=localpart is not None)

    @property
    def may_replace(self) -> bool:
        """Whether an account may get another name than the client asked for."""
        return self.config.name_from is not None

    async def _free(self, name: str, key: str) -> Optional[str]:
        """The name with the first suffix that makes it free, or that this ``key`` has taken; None
        if a number must be generated."""
        name = name[: MAX_USER_ID - len(self.names.server_name.encode())]
        refused = 0
        for suffix in itertools.chain([""], range(1, SUFFIXES)):
            try:
                await self.names.check(f"{name}{suffix}", key=key)
                return f"{name}{suffix}"
            except UsernameTaken:
                continue
            except (UsernameReserved, InvalidUsername):
                refused += 1
                if refused == REFUSED:
                    break
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
