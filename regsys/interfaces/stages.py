"""User-interactive authentication: its sessions, its stages, and what these stand on."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Sequence

import attr
from zope.interface import Attribute, Interface

from regsys.model import (
    TOKENS_A_PAGE,
    USES_A_PAGE,
    Client,
    RegistrationToken,
    TokenUse,
    UIASession,
    UserID,
)


@attr.frozen(kw_only=True)
class StageContext:
    """What a stage may know of the request it is tried in."""

    session: UIASession
    client: Client


@attr.frozen(kw_only=True)
class StagePage:
    """How a person passes a stage in a browser (contract B8.10): the inside of a form.

    ``template`` is a file name among the templates; it sees ``stage``, ``params`` (as
    ``IStage.params`` gives them, {} for None), ``session_id`` and ``failure`` (a sentence, or
    None), and may set ``title``, the page's heading (docs/pages.md).
    ``fields`` tells, for each field of the form, its key in the ``auth`` dict; all of them
    are required. ``sources`` are what the page may load beside our own files: sources by
    directive of the Content-Security-Policy.
    """

    template: str
    fields: Mapping[str, str] = attr.field(factory=dict)
    sources: Mapping[str, tuple[str, ...]] = attr.field(factory=dict)


class IStage(Interface):
    """One stage of user-interactive authentication. Bring your own: see docs/embedding.md."""

    type: str = Attribute("The stage's name in flows, such as ``m.login.dummy``.")
    page: Optional[StagePage] = Attribute(
        "How a person passes it in a browser; None: there is nothing to do in one."
    )

    def params(session: UIASession) -> Optional[Mapping[str, Any]]:
        """What a client must know to attempt the stage, for ``params``; None: nothing."""

    def check(auth: Mapping[str, Any], context: StageContext) -> Awaitable[Any]:
        """Judge the client's ``auth`` dict (any JSON may be in it).

        Returns what is to be remembered (JSON; True if there is nothing to say). Raises
        StageFailed(errcode, text) when it is not passed, Unavailable when a service that
        is needed cannot be asked: the session lives on either way.
        """


class ISessionStore(Interface):
    """The UIA sessions. They survive a restart (contract B16.19)."""

    def add(session: UIASession, at_most: int) -> Awaitable[bool]:
        """Store a new session, unless its address has ``at_most`` unfinished ones, or its site
        eight times as many: False."""

    def get(session_id: str, now_ms: int) -> Awaitable[Optional[UIASession]]:
        """The session, if it exists and has not expired, with its outcome if it has one."""

    def save(
        session_id: str,
        client: Client,
        params: Optional[Mapping[str, Any]],
        results: Mapping[str, Any],
        password_mark: Optional[str] = None,
        hashing_until_ms: Optional[int] = None,
        guest_id: Optional[UserID] = None,
    ) -> Awaitable[None]:
        """Keep progress: ``params`` replace those remembered (None leaves them), ``client``
        and ``results`` are added to what is there. A ``password_mark`` is that of a new password:
        the hash that was kept is forgotten, and ``hashing_until_ms`` is until when the new one
        may be in the making (None: nobody makes it). ``guest_id`` None leaves the guest that is
        remembered. A session that is gone stays gone."""

    def keep_hash(session_id: str, password_mark: str, password_hash: str) -> Awaitable[None]:
        """Keep the hash of the password that has this mark, unless there has been a newer
        password or the session is finished."""

    def give_up_hashes(password_marks: Mapping[str, str]) -> Awaitable[None]:
        """Nobody makes the hashes of these passwords any more: ``hashing_until_ms`` becomes None.
        The marks are by session id; a session that has a newer password is left alone."""

    def remove(session_id: str) -> Awaitable[bool]:
        """Forget the session; False if there is none. Of several who do, at most one is told
        True (nobody, where the answer to him was lost)."""

    def end_replays(user_id: UserID, device_id: Optional[str]) -> Awaitable[None]:
        """Forget the finished sessions whose answers log this device in, None: any of the user's
        devices."""


class IRegistrationTokenStore(Interface):
    """Registration tokens, and the uses that sessions hold of them (contract B8.8)."""

    def create(token: RegistrationToken) -> Awaitable[bool]:
        """Store a new token; False if there is one of this name."""

    def get(token: str, now_ms: int) -> Awaitable[Optional[RegistrationToken]]:
        """The token with its uses as they stand now; None: there is none."""

    def list(
        now_ms: int, after: Optional[RegistrationToken] = None, at_most: int = TOKENS_A_PAGE
    ) -> Awaitable[Sequence[RegistrationToken]]:
        """Up to ``at_most`` tokens, the oldest first, that follow ``after`` (None: from the
        beginning)."""

    def change(token: str, changes: Mapping[str, Any]) -> Awaitable[bool]:
        """Set ``uses_allowed``, ``expiry_ms``, ``revoked`` or ``note``; False: no such token."""

    def delete(token: str) -> Awaitable[bool]:
        """Forget it, and the uses that are held; False: no such token."""

    def uses(
        token: str, after: Optional[TokenUse] = None, at_most: int = USES_A_PAGE
    ) -> Awaitable[Sequence[TokenUse]]:
        """Up to ``at_most`` accounts that it has let in, the oldest first, that follow ``after``
        (None: from the beginning)."""

    def first_uses(
        tokens: Sequence[str], at_most: int
    ) -> Awaitable[Mapping[str, Sequence[TokenUse]]]:
        """The first ``at_most`` uses of each of these tokens; nothing of one that has none."""

    def reserve(token: str, session_id: str, now_ms: int) -> Awaitable[bool]:
        """Hold a use for this session, for RESERVED_MS; False if none is left.

        A session holds one use at most: this one replaces what it held, of whatever token.
        The transaction that makes the account uses it up (NewAccount.registration_token).
        """


class ICaptchaVerifier(Interface):
    """Knows whether somebody has solved a captcha (contract B8.7)."""

    def verify(response: str, address: str) -> Awaitable[bool]:
        """Whether this response, which a person at ``address`` brought, is a solution.

        Asking may use it up. Raises Unavailable if that cannot be found out; then nothing
        is known of the response, and it may be tried again.
        """
