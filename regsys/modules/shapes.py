"""What the API object returns, in the shapes that modules know."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.errors import ModuleRefusal
from regsys.model import UserID


@attr.frozen
class ModuleUserID:
    """A user ID; its text is ``str()`` of it, or ``to_string()``."""

    localpart: str
    domain: str

    @classmethod
    def of(cls, user_id: UserID) -> ModuleUserID:
        return cls(user_id.localpart, user_id.server)

    @classmethod
    def from_string(cls, text: str) -> ModuleUserID:
        """ModuleRefusal for text that is no user ID."""
        try:
            return cls.of(UserID.parse(text))
        except ValueError:
            raise ModuleRefusal(400, f"{text!r} is not a user ID.", "M_INVALID_PARAM") from None

    @classmethod
    def is_valid(cls, text: str) -> bool:
        try:
            UserID.parse(text)
        except ValueError:
            return False
        return True

    def to_string(self) -> str:
        return f"@{self.localpart}:{self.domain}"

    __str__ = to_string


@attr.frozen(kw_only=True)
class UserInfo:
    """``creation_ts`` is in seconds. What regsys does not know is None."""

    user_id: ModuleUserID
    appservice_id: Optional[str]
    creation_ts: int
    is_admin: bool
    is_deactivated: bool
    is_guest: bool
    is_shadow_banned: bool
    approved: bool
    user_type: Optional[str]
    consent_server_notice_sent: Optional[str] = None
    consent_version: Optional[str] = None


@attr.frozen(kw_only=True)
class ModuleRequester:
    """Who has made a request. There is no application service among them."""

    user: ModuleUserID
    device_id: Optional[str]
    is_guest: bool
    is_admin: bool
    shadow_banned: bool
    access_token_id: None = None
    app_service: None = None
    scope: frozenset[str] = frozenset()

    @property
    def authenticated_entity(self) -> str:
        return self.user.to_string()


@attr.frozen
class ProfileInfo:
    avatar_url: Optional[str]
    display_name: Optional[str]


@attr.frozen
class UserIpAndAgent:
    """``last_seen`` is in milliseconds."""

    ip: str
    user_agent: str
    last_seen: int


class HttpResponseException(Exception):
    """Another server has answered with another status than 2xx; ``response`` is the body."""

    def __init__(self, code: int, msg: str, response: bytes) -> None:
        super().__init__(f"{code}: {msg}")
        self.code = code
        self.msg = msg
        self.response = response
