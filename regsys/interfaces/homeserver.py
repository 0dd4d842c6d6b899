"""What an embedding homeserver brings; each has a version of our own in ``regsys serve``."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Sequence

from zope.interface import Interface

from regsys.model import (
    AccountThreepid,
    FoundRoom,
    Login,
    NewAccount,
    NewDevice,
    NewRoom,
    Outcome,
    Pusher,
    Registration,
    Requester,
    Secret,
    Threepid,
    User,
    UserID,
)


class IAccountStore(Interface):
    """The accounts: the ``store=`` of ``regsys.wiring``."""

    def is_taken(localpart: str) -> Awaitable[bool]:
        """Whether any account, a deactivated one included, bears this name in any case."""

    def next_number() -> Awaitable[int]:
        """The next number for a generated name: never given out twice, not even after a
        restart, and not derived from the accounts that exist (contract B2.5)."""

    def create_account(new: NewAccount) -> Awaitable[Outcome]:
        """Make the account, whole or not at all, once a key (contract B2.3).

        A key that has made an account answers with that account's Outcome, ``replayed``,
        and writes nothing. A store that keeps devices too writes ``new.device`` in the
        same transaction and returns its terms; one that leaves them to IDevices returns
        ``terms=None``. ``new.jobs`` are regsys's own. May run again after a lost connection:
        the key makes that safe.

        Raises UsernameTaken (decided by a unique key, not by looking first), UnknownToken
        where ``upgrades_guest`` and the row is no guest any more, ThreepidInUse and
        InvalidRegistrationToken; then nothing was written.
        """

    def outcome(key: str) -> Awaitable[Optional[Outcome]]:
        """What this key has made, or None if it has made nothing."""


class IDevices(Interface):
    """The devices and their tokens: the ``devices=`` of ``regsys.wiring``."""

    def register(user_id: UserID, device: NewDevice) -> Awaitable[Login]:
        """Put the device on the account and its login into force (contract B4.1).

        A known device keeps its display name and loses its earlier tokens; the same
        tokens again change nothing. The tokens are ready-made in ``device.login``; a
        homeserver that mints its own returns those instead, the same ones each time it
        is given the same ``device.login``. A guest's token (``terms.is_guest``) is
        kept like any other, unless ``auth`` can read what it says. A device of
        an application service's user says so (``is_appservice_ghost``), for homeservers
        that treat those differently.

        Raises UserNotFound for a user who does not exist or is deactivated.
        """


class IAuth(Interface):
    """Who an access token belongs to: the ``auth=`` of ``regsys.wiring``."""

    def whose(token: Secret) -> Awaitable[Optional[Requester]]:
        """The owner of a live access token; None for any other token.

        Raises UnknownToken(soft_logout=True) for one that has expired while its device
        still lives (contract B4.6).
        """


class IUserLookup(Interface):
    """What our own /login and guest tokens ask of accounts, and ``m.login.password`` of an
    embedder's: the ``users=`` of ``regsys.hooks``."""

    def find(localpart: str) -> Awaitable[Optional[User]]:
        """The account of this name, compared case-insensitively, in any state; else None."""


class IThreepidStore(Interface):
    """Who holds which third-party identifier: the ``threepids=`` of ``regsys.embedded``."""

    def owner_of(medium: str, address: str) -> Awaitable[Optional[UserID]]:
        """The user holding this address (canonical form), or None if nobody does."""

    def of_user(user_id: UserID) -> Awaitable[Sequence[AccountThreepid]]:
        """What this user has, the oldest first; nothing for a user who doesn't exist."""

    def add(user_id: UserID, threepid: Threepid, now_ms: int) -> Awaitable[bool]:
        """Give it to the user; False if it was his already, and is as it was.

        Raises ThreepidInUse if it is another's (decided by a unique key, not by looking
        first): an address is never moved. UserNotFound for a user who does not exist or is
        deactivated.
        """

    def remove(user_id: UserID, medium: str, address: str) -> Awaitable[bool]:
        """Take it away from this user, so that it has no owner; False if it was not theirs."""


class IUserDirectory(Interface):
    """Learns of every new profile (contract B2.7): the ``directory=`` of ``regsys.hooks``."""

    def profile_created(
        user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> Awaitable[None]:
        """A profile exists now; guests have one too, and application services' users. Called from
        a job: at least once, also when the name has been changed since, retried until it succeeds.

        ``hidden``: nobody shall find it (contract B12.2). What homeservers do then is to give
        the user the account data ``im.vector.hide_profile`` {"hide_profile": true}, and to make
        the profile inactive.
        """


class IRooms(Interface):
    """The rooms that newcomers join: the ``rooms=`` of ``regsys.embedded`` (contract B5).

    Called from jobs, each of which is tried again until it succeeds, and by another process
    once JOB_LEASE_MS (a minute) are over: end earlier. What happened already, before a crash or
    by somebody else, must not be an error. Rate limits don't apply. Whatever is raised is told
    to the operator; RoomRefused says why in words.
    """

    def find(room: str) -> Awaitable[Optional[FoundRoom]]:
        """The room of this alias (``#name:server``) or id (``!…``); None: there is none."""

    def create(creator: UserID, room: NewRoom) -> Awaitable[FoundRoom]:
        """Make the room, with ``creator`` in it. Raises RoomTaken if its alias names a room by
        now (decided by who keeps the aliases, not by looking first)."""

    def is_public(room: FoundRoom) -> Awaitable[bool]:
        """Whether anybody may join uninvited; False also if its join rules can't be read."""

    def invite(inviter: UserID, user_id: UserID, room: FoundRoom) -> Awaitable[None]:
        """Invite the user, unless he is invited or in it already."""

    def join(user_id: UserID, room: FoundRoom) -> Awaitable[None]:
        """Let the user join, unless he is in it already."""


class IPushers(Interface):
    """The pushers: the ``pushers=`` of ``regsys.embedded`` (contract B6.1)."""

    def add(pusher: Pusher) -> Awaitable[None]:
        """Put it on the user; his one of the same app and pushkey is replaced. Called from a
        job. If its device is no more, or never was this user's, there is nothing to do."""


class IRequestSigner(Interface):
    """Signs requests as the homeserver's own: the ``signer=`` of ``regsys.hooks``. Optional; it
    lets identity servers unbind what our users had bound (contract B7.10)."""

    def authorization(
        method: str, uri: str, destination: str, content: Mapping[str, Any]
    ) -> Awaitable[str]:
        """The header ``Authorization`` (``X-Matrix …``) of a request among servers. ``uri``: its
        path and query; ``destination``: the name of the server that it is for."""


class IMonthlyActiveUsers(Interface):
    """Who counts as a user of the last thirty days (contract B9): the ``active_users=`` of
    ``regsys.embedded``, for ``limit_usage_by_mau``. Guests are none."""

    def count(at_most: int) -> Awaitable[int]:
        """How many there are; ``at_most`` if there are as many or more. Asked at each
        registration: an answer a few seconds old is good enough."""

    def is_active(user_id: UserID) -> Awaitable[bool]:
        """Whether this user is one of them."""

    def add(user_id: UserID) -> Awaitable[None]:
        """The user is one from now on, without any trial, and for thirty days at least. Called
        from a job. Idempotent; a user who does not exist any more is no error."""


class IBlocking(Interface):
    """Whether the server takes anybody at all (contract B9): the ``blocking=`` of
    ``regsys.hooks``, in place of what the configuration says."""

    def check(registration: Registration) -> Awaitable[None]:
        """Returns if this one may go on, or raises the refusal. Not asked where an
        administrator registers somebody."""

    def check_login(user: User) -> Awaitable[None]:
        """The same for a user who logs in, whose password was right."""
