"""What an embedding homeserver brings: each interface is an argument of ``regsys.embedded``.

``store``, ``devices`` and ``auth`` are needed, the others are optional. ``regsys serve`` has an
implementation of its own of each, but for ``IRequestSigner``.
"""

from __future__ import annotations

from typing import Any, Awaitable, Collection, Mapping, Optional, Sequence

from zope.interface import Attribute, Interface

from regsys.model import (
    AccountThreepid,
    Appservice,
    FoundRoom,
    Login,
    NewAccount,
    NewDevice,
    NewRoom,
    Pusher,
    Registration,
    Requester,
    Secret,
    Threepid,
    User,
    UserID,
)


class IAccountStore(Interface):
    """The accounts: ``store=``."""

    def is_taken(localpart: str) -> Awaitable[bool]:
        """Whether an account has this name, compared case-insensitively. A deactivated account
        keeps its name."""

    def next_number() -> Awaitable[int]:
        """The next number for a generated name. No number is returned twice, not even after a
        restart, and it is not derived from the accounts that exist (contract B2.5)."""

    def create_account(new: NewAccount) -> Awaitable[UserID]:
        """Create the account in one transaction, once for each ``new.key`` (contract B2.3).

        Returns its user. If the key has created an account before, return that account's user,
        whatever name ``new`` has, and write nothing: after a lost connection the call is repeated.
        ``new.device`` is for IDevices, unless this is an IAccountStoreWithDevices. ``new.jobs``
        are regsys's own; ignore them.

        Raises UsernameTaken (a unique key decides, not a look before), UnknownToken if
        ``upgrades_guest`` and the account is not a guest's any more, and ThreepidInUse. Then
        nothing was written.
        """

    def made_by(key: str) -> Awaitable[Optional[UserID]]:
        """The user whose account this key has created; None if it has created none."""


class IAccountStoreWithDevices(IAccountStore):
    """An account store that keeps the devices, too. It has no further method.

    ``create_account`` writes ``new.device``, if there is one, with its tokens, in the account's
    transaction. IDevices.register is then called only for accounts that exist already. The tokens
    must be those of ``new.device.login``.
    """


class IDevices(Interface):
    """The devices and their tokens: ``devices=``."""

    def register(user_id: UserID, device: NewDevice) -> Awaitable[Login]:
        """Add the device to the account and make its login valid (contract B4.1). Idempotent.

        A known device keeps its display name and loses its earlier tokens. The tokens are
        ready-made in ``device.login``. A homeserver that mints its own returns those instead, the
        same ones each time for the same ``device.login``. A guest's token (``terms.is_guest``) is
        stored like any other. ``is_appservice_ghost`` marks the device of an application
        service's user, for homeservers that treat those differently.

        Raises UserNotFound for a user who does not exist or is deactivated, and InvalidParam if
        ``device.login.terms.is_guest`` differs from the account, looked at in the same transaction:
        a guest's token would else be a user's, or the other way round (contract B2.4). A guest may
        have become a user since the login was made.
        """


class IAuth(Interface):
    """Whose an access token is: ``auth=``."""

    def whose(token: Secret) -> Awaitable[Optional[Requester]]:
        """The owner of a valid access token; None for any other token.

        Raises UnknownToken(soft_logout=True) for a token that has expired while its device still
        exists (contract B4.6).
        """


class IUserLookup(Interface):
    """Accounts by name: ``users=``. With it users can confirm requests by password, and
    ``register_device`` knows who is a guest."""

    def find(localpart: str) -> Awaitable[Optional[User]]:
        """The account of this name, compared case-insensitively, in any state; None if there is
        none."""


class IThreepidStore(Interface):
    """Which account has which third-party identifier: ``threepids=``. Addresses are in their
    canonical form."""

    def owner_of(medium: str, address: str) -> Awaitable[Optional[UserID]]:
        """The user who has this address; None if none has."""

    def of_user(user_id: UserID) -> Awaitable[Sequence[AccountThreepid]]:
        """What this user has, the oldest first; empty for a user who does not exist."""

    def add(user_id: UserID, threepid: Threepid, now_ms: int) -> Awaitable[bool]:
        """Give it to the user; False, and no change, if the user has it already.

        Raises ThreepidInUse if another user has it (a unique key decides, not a look before): an
        address is never moved. Raises UserNotFound for a user who does not exist or is
        deactivated.
        """

    def remove(user_id: UserID, medium: str, address: str) -> Awaitable[bool]:
        """Take it away from this user, so that it has no owner. False if the user does not
        have it."""


class IRooms(Interface):
    """The rooms that new users join: ``rooms=`` (contract B5).

    Called from jobs. A job is tried again until it succeeds, and by another process once
    JOB_LEASE_MS (a minute) are over: return earlier. What was done before, by a process that
    crashed or by another one, must not be an error. Rate limits do not apply. Every exception is
    shown to the operator; RoomRefused carries the reason in words.
    """

    def find(room: str) -> Awaitable[Optional[FoundRoom]]:
        """The room of this alias (``#name:server``, of whatever server) or id (``!…``); None if
        there is none. ``FoundRoom.resident``: whether a user of this server has joined it by now.
        For an alias it must be right; for the id of another server's room it may stay False."""

    def create(creator: UserID, room: NewRoom) -> Awaitable[FoundRoom]:
        """Create the room: ``creator`` has joined it, and ``room.invited`` are invited.

        Raises RoomTaken if its alias names a room by now (the directory of aliases decides, not a
        look before); then nothing has changed.
        """

    def is_public(room: FoundRoom) -> Awaitable[bool]:
        """Whether any user may join without an invitation; False if the join rules cannot be
        read, as may be if the room is not ``resident``."""

    def invite(inviter: UserID, user_id: UserID, room: FoundRoom) -> Awaitable[None]:
        """Invite the user, unless the user is invited or joined already. Raises RoomRefused if
        ``inviter`` has not joined the room."""

    def join(user_id: UserID, room: FoundRoom) -> Awaitable[None]:
        """Have the user join, unless the user has joined already; through ``room.servers`` if no
        user of this server has yet. Raises RoomRefused for a room that is not public if the user
        is not invited."""


class IPushers(Interface):
    """The pushers: ``pushers=`` (contract B6.1)."""

    def add(pusher: Pusher) -> Awaitable[None]:
        """Store it for its user, in place of that user's pusher of the same app and pushkey.
        Called from a job. If its device was deleted, or is another user's, do nothing."""


class IUserDirectory(Interface):
    """The user directory, which learns of every new profile: ``directory=`` (contract B2.7)."""

    def profile_created(
        user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> Awaitable[None]:
        """A profile was created, be it a user's, a guest's or an application service's user's.
        Called from a job: at least once, retried until it succeeds, and also if the user has
        changed the name since.

        ``hidden``: searches must not find the user (contract B12.2). Homeservers give the user
        the account data ``im.vector.hide_profile`` {"hide_profile": true} and make the profile
        inactive.
        """


class IMonthlyActiveUsers(Interface):
    """The users who were active in the last thirty days, for ``limit_usage_by_mau``:
    ``active_users=`` (contract B9). Guests do not count."""

    def count(at_most: int) -> Awaitable[int]:
        """How many there are; ``at_most`` if there are as many or more. Called at each
        registration: a result a few seconds old is good enough."""

    def is_active(user_id: UserID) -> Awaitable[bool]:
        """Whether this user is one of them."""

    def add(user_id: UserID) -> Awaitable[None]:
        """Count the user from now on, without a trial, for thirty days at least. Called from a
        job. Idempotent; a user who does not exist any more is no error."""


class IBlocking(Interface):
    """Whether registrations and logins are blocked at all, in place of what the configuration
    says: ``blocking=`` (contract B9)."""

    def check(registration: Registration) -> Awaitable[None]:
        """Return if the registration may go on, or raise the refusal. Not called for
        registrations by an administrator."""

    def check_login(user: User) -> Awaitable[None]:
        """The same for a user who logs in with the right password."""


class IAppservices(Interface):
    """The application services and their namespaces, in place of the files that the configuration
    names: ``services=`` (contract B3). Its methods do not block."""

    services: Collection[Appservice] = Attribute("All application services.")

    def by_token(as_token: Secret) -> Optional[Appservice]:
        """The service that has this token; None if none has."""

    def may_use(appservice_id: str, user_id: UserID) -> bool:
        """Whether the service may register this user and act as it: the service's own user, or
        one in its namespaces, exclusive or not."""

    def reserved_for(user_id: UserID) -> Collection[str]:
        """The ids of the services that the name is reserved for; empty if it is free. For the
        name of a service's own user, in any case of letters, that service alone; else all
        services with an exclusive namespace that matches."""


class IRequestSigner(Interface):
    """Signs federation requests as the homeserver: ``signer=``. With it identity servers unbind
    what users of this server had bound (contract B7.10)."""

    def authorization(
        method: str, uri: str, destination: str, content: Mapping[str, Any]
    ) -> Awaitable[str]:
        """The header ``Authorization`` (``X-Matrix …``) of this request. ``uri``: its path and
        query; ``destination``: the name of the server that it is sent to."""
