"""Devices and their logins."""

from __future__ import annotations

from typing import Optional

import attr

from regsys.model.identity import Secret, UserID


@attr.frozen(kw_only=True)
class DeviceRequest:
    """What a client asks of its new device. If ``device_id`` is None, one is made up."""

    device_id: Optional[str] = None
    display_name: Optional[str] = None
    is_guest: bool = False
    is_appservice_ghost: bool = False
    wants_refresh_token: bool = False
    auth_provider_id: Optional[str] = None
    auth_provider_session_id: Optional[str] = None


@attr.frozen(kw_only=True)
class LoginTerms:
    """What a login grants, without its secrets: enough to make the same tokens once more.

    If ``…_until_ms`` is None, there is no end. ``session_until_ms`` is the cap that no refresh can
    pass.
    """

    device_id: str
    is_guest: bool = False
    refreshable: bool = False
    valid_until_ms: Optional[int] = None
    refresh_until_ms: Optional[int] = None
    session_until_ms: Optional[int] = None


@attr.frozen(kw_only=True)
class Login:
    """A device's tokens and their terms. If ``refresh_token`` is None, none was issued."""

    terms: LoginTerms
    access_token: Secret
    refresh_token: Optional[Secret] = None

    @property
    def device_id(self) -> str:
        return self.terms.device_id


@attr.frozen(kw_only=True)
class LoggedIn:
    """Who has logged in, and what came of it."""

    user_id: UserID
    login: Login


@attr.frozen(kw_only=True)
class NewDevice:
    """A device about to be written, with its login. The tokens of a guest are not stored.

    ``is_appservice_ghost``: an application service logs in one of its users, and no person does.
    """

    login: Login
    display_name: Optional[str] = None
    is_appservice_ghost: bool = False
    auth_provider_id: Optional[str] = None
    auth_provider_session_id: Optional[str] = None

    @classmethod
    def of(cls, request: DeviceRequest, login: Login) -> NewDevice:
        """The device that was asked for, with this login."""
        return cls(
            login=login,
            display_name=request.display_name,
            is_appservice_ghost=request.is_appservice_ghost,
            auth_provider_id=request.auth_provider_id,
            auth_provider_session_id=request.auth_provider_session_id,
        )


@attr.frozen(kw_only=True)
class StoredLogin:
    """One pair of tokens as the store knows it: by their hashes.

    ``spent``: its successor is in use. ``replaces`` is the access hash of the pair that
    this one was refreshed from, until one of the new tokens is used; then None.
    """

    access_hash: str
    user_id: UserID
    terms: LoginTerms
    replaces: Optional[str] = None
    spent: bool = False
    deactivated: bool = False
    admin: bool = False
