"""Devices and their logins."""

from __future__ import annotations

from typing import Any, Callable, Iterable, Mapping, Optional

import attr

from regsys.model.identity import Secret, UserID
from regsys.model.replication import ReplicationCall
from regsys.model.typed import typed


@attr.frozen(kw_only=True, field_transformer=typed)
class DeviceRequest:
    """The device that a client requests. If ``device_id`` is None, one is generated. Whether its
    login is a guest's is a matter of the account (contract B2.4)."""

    device_id: Optional[str] = None
    display_name: Optional[str] = None
    is_appservice_ghost: bool = False
    wants_refresh_token: bool = False
    auth_provider_id: Optional[str] = None
    auth_provider_session_id: Optional[str] = None


@attr.frozen(kw_only=True, field_transformer=typed)
class LoginTerms:
    """What a login grants, without its secrets: enough to issue the same tokens again.

    If ``…_until_ms`` is None, there is no end. No refresh can extend ``session_until_ms``.
    """

    device_id: str
    is_guest: bool = False
    refreshable: bool = False
    valid_until_ms: Optional[int] = None
    refresh_until_ms: Optional[int] = None
    session_until_ms: Optional[int] = None

    def __attrs_post_init__(self) -> None:
        if self.is_guest and self.refreshable:
            raise ValueError("LoginTerms: a guest's login is not refreshable")


@attr.frozen(kw_only=True, field_transformer=typed)
class Login:
    """A device's tokens and their terms; ``refresh_token`` is None if none was issued.

    Internal: ``made_with``, from which they can be made again, if a homeserver is to get them back.
    """

    terms: LoginTerms
    access_token: Secret
    refresh_token: Optional[Secret] = None
    made_with: Optional[Secret] = None

    @property
    def device_id(self) -> str:
        return self.terms.device_id


@attr.frozen(kw_only=True)
class WhichDevices:
    """Which of a user's devices are logged out: those with these ``ids``, known or not; if that is
    None, all but ``keeping``."""

    ids: Optional[frozenset[str]] = None
    keeping: Optional[str] = None

    @classmethod
    def of(cls, device_ids: Iterable[str]) -> WhichDevices:
        return cls(ids=frozenset(device_ids))

    @classmethod
    def one_or_all(cls, device_id: Optional[str]) -> WhichDevices:
        """This one; all if it is None."""
        return ALL_DEVICES if device_id is None else cls.of([device_id])


ALL_DEVICES = WhichDevices()


@attr.frozen(kw_only=True)
class Device:
    """A device as its user sees it."""

    device_id: str
    display_name: Optional[str] = None


@attr.frozen(kw_only=True)
class LoggedIn:
    """The user who has logged in, and the login. Call ``answered`` with the body of the answer."""

    user_id: UserID
    login: Login
    answered: Callable[[Mapping[str, Any]], None] = lambda answer: None


@attr.frozen(kw_only=True, field_transformer=typed)
class NewDevice:
    """A device to be stored, with its login. (Where regsys keeps the devices, it does not store a
    guest's token, which says itself whose it is.)

    ``is_appservice_ghost``: an application service logs in one of its users. Internal: ``call`` as
    in NewAccount; ``password_fingerprint``: that of the password that was checked for this login,
    which is refused if the account has another one by now.
    """

    login: Login
    display_name: Optional[str] = None
    is_appservice_ghost: bool = False
    auth_provider_id: Optional[str] = None
    auth_provider_session_id: Optional[str] = None
    call: Optional[ReplicationCall] = None
    password_fingerprint: Optional[str] = None

    @classmethod
    def from_request(cls, request: DeviceRequest, login: Login) -> NewDevice:
        """The requested device, with this login."""
        return cls(
            login=login,
            display_name=request.display_name,
            is_appservice_ghost=request.is_appservice_ghost,
            auth_provider_id=request.auth_provider_id,
            auth_provider_session_id=request.auth_provider_session_id,
        )


@attr.frozen(kw_only=True)
class StoredLogin:
    """A stored pair of tokens, by their hashes.

    ``spent``: its successor is in use. ``replaces``: the access hash of the pair from which this
    one was refreshed, until one of the new tokens is used; then None.
    """

    access_hash: str
    user_id: UserID
    terms: LoginTerms
    replaces: Optional[str] = None
    spent: bool = False
    deactivated: bool = False
    admin: bool = False
