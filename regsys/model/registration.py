"""The inputs of a registration."""

from __future__ import annotations

import secrets
from typing import Any, Mapping, Optional

import attr

from regsys.model.accounts import check_key, extra_object, refuse_for_a_guest, stages_object
from regsys.model.devices import DeviceRequest
from regsys.model.identity import Client, Secret, Threepid, UserID
from regsys.model.typed import typed


@attr.frozen(kw_only=True, field_transformer=typed)
class Registration:
    """The inputs of a registration, as one value (contract B2.0).

    ``key`` is the idempotency key. Without one a key is drawn: keep it, because only a retry with
    the same key finds the account that the first call has made. A key is a secret: whoever can
    cause a call with it gets that account's login again, unless the call asks for another
    ``localpart`` (InvalidParam). Make it from something that one person alone knows. If
    ``localpart`` is None, a number is drawn. Either ``password`` (hashed after admission) or
    ``password_hash`` or neither is given. If ``device`` is None, there is no login. If ``client``
    is None, no limits apply. ``clients``: the clients of all requests of the UIA session. If
    ``approved`` is None, the configuration decides. ``languages``: the client's, the preferred one
    first, for the mail that tells of an approval. ``bind_emails``: email addresses that the account
    gets without validation. They and the ``threepids`` may be in any spelling: each is stored once,
    in canonical form. ``consents`` as in NewAccount. ``stages``: what each stage of the UIA session
    has found, by its type, as ``IStage.check`` returned it; empty without UIA.
    ``extra``: a JSON object of the embedder's, which reaches the account's store and followers
    unchanged. Both must be JSON: anything else is a TypeError or ValueError.

    ``make_guest``: the account is a guest's. It may have a name and a device, but it has no
    password, no address and no rights of an administrator. ``guest_access_token``: the guest of
    this name becomes a user, and keeps its profile, so that ``display_name`` has no effect; all
    else, ``admin`` too, is as for a new user. Contradictions are a ValueError.

    Internal: ``guest_id`` (the guest who becomes a user, if an earlier request had its access
    token), ``session_id``, ``takes_over`` (as in Usernames.check), ``name_checked`` (the name was
    checked in this request, so that only the write still decides whether it is free),
    ``threepids_checked`` (the same for the rules about ``threepids``), ``binds`` (which of
    ``bind_email`` and ``bind_msisdn`` the client has asked for, where a shadow server is told) and
    ``made_by`` (who makes the account for its person, for the audit log; None if they do that
    themselves).
    """

    key: str = attr.field(factory=lambda: secrets.token_hex(16))
    localpart: Optional[str] = None
    password: Optional[Secret] = None
    password_hash: Optional[str] = attr.field(default=None, repr=False)
    guest_access_token: Optional[Secret] = None
    guest_id: Optional[UserID] = None
    make_guest: bool = False
    admin: bool = False
    threepids: tuple[Threepid, ...] = ()
    bind_emails: tuple[str, ...] = ()
    user_type: Optional[str] = None
    display_name: Optional[str] = None
    client: Optional[Client] = None
    clients: tuple[Client, ...] = ()
    languages: tuple[str, ...] = ()
    by_admin: bool = False
    auth_provider_id: Optional[str] = None
    approved: Optional[bool] = None
    registration_token: Optional[str] = attr.field(default=None, repr=False)
    consents: Mapping[str, str] = attr.field(factory=dict)
    stages: Mapping[str, Any] = attr.field(factory=dict, converter=stages_object, repr=False)
    extra: Mapping[str, Any] = attr.field(factory=dict, converter=extra_object, repr=False)
    session_id: Optional[str] = None
    device: Optional[DeviceRequest] = None
    name_checked: bool = False
    takes_over: bool = False
    threepids_checked: bool = False
    binds: tuple[str, ...] = ()
    made_by: Optional[str] = None

    def __attrs_post_init__(self) -> None:
        check_key(self, ": leave it out, and one is drawn")
        if self.password is not None and self.password_hash is not None:
            raise ValueError("Registration: give password or password_hash, not both")
        if self.make_guest:
            refuse_for_a_guest(self, "make_guest", *_NOT_OF_GUESTS)
        if self.guest_access_token is not None and self.localpart is None:
            raise ValueError("Registration: guest_access_token needs the guest's own localpart")
        if self.guest_id is not None and self.guest_id.localpart != self.localpart:
            raise ValueError("Registration: guest_id needs the guest's own localpart")


_NOT_OF_GUESTS = (
    "admin",
    "password",
    "password_hash",
    "guest_access_token",
    "guest_id",
    "threepids",
    "bind_emails",
)
