"""Every seam of regsys on one page.

Methods are declared ``-> Awaitable[X]`` where they may talk to a disk, a network or a
thread: implement them as ``async def`` or return a Deferred. The others answer at once
and never block. Refusals are exceptions of ``regsys.errors``; None means absent.
``regsys.testing`` holds one contract suite an interface: run it against yours.
"""

from __future__ import annotations

import enum
from typing import Any, Awaitable, Mapping, Optional, Sequence

import attr
from zope.interface import Attribute, Interface

from regsys.model import (
    AccountThreepid,
    Client,
    Consent,
    Created,
    DeviceRequest,
    Job,
    Login,
    LoginTerms,
    Mail,
    NewAccount,
    NewDevice,
    NewJob,
    NewValidation,
    Outcome,
    Registration,
    RegistrationToken,
    Requester,
    Secret,
    StoredLogin,
    Threepid,
    TokenUse,
    UIASession,
    User,
    UserID,
    Validation,
    ValidationBegun,
    ValidationMail,
)

# === What an embedding homeserver brings =================================================


class IAccountStore(Interface):
    """The accounts: the ``store=`` of ``regsys.build``."""

    def is_taken(localpart: str) -> Awaitable[bool]:
        """Whether any account, a deactivated one included, bears this name in any case."""

    def next_number() -> Awaitable[int]:
        """The next number for a generated name: never given out twice, not even after a
        restart, and not derived from the accounts that exist (BEHAVIOUR B2.5)."""

    def create_account(new: NewAccount) -> Awaitable[Outcome]:
        """Make the account, whole or not at all, once a key (BEHAVIOUR B2.3).

        A key that has made an account answers with that account's Outcome, ``replayed``,
        and writes nothing. A store that keeps devices too writes ``new.device`` in the
        same transaction and returns its terms; one that leaves them to IDevices returns
        ``terms=None``. May run again after a lost connection: the key makes that safe.

        Raises UsernameTaken (decided by a unique key, not by looking first), UnknownToken
        where ``upgrades_guest`` and the row is no guest any more, ThreepidInUse and
        InvalidRegistrationToken; then nothing was written.
        """

    def outcome(key: str) -> Awaitable[Optional[Outcome]]:
        """What this key has made, or None if it has made nothing."""


class IDevices(Interface):
    """The devices and their tokens: the ``devices=`` of ``regsys.build``."""

    def register(user_id: UserID, device: NewDevice) -> Awaitable[Login]:
        """Put the device on the account and its login into force (BEHAVIOUR B4.1).

        A known device keeps its display name and loses its earlier tokens; the same
        tokens again change nothing. The tokens are ready-made in ``device.login``; a
        homeserver that mints its own returns those instead, the same ones each time it
        is given the same ``device.login``. A guest's token (``terms.is_guest``) is
        kept like any other, unless ``auth`` can read what it says.

        Raises UserNotFound for a user who does not exist or is deactivated.
        """


class IAuth(Interface):
    """Who an access token belongs to: the ``auth=`` of ``regsys.build``."""

    def whose(token: Secret) -> Awaitable[Optional[Requester]]:
        """The owner of a live access token; None if nobody's.

        Raises UnknownToken(soft_logout=True) for one that has expired while its device
        still lives (BEHAVIOUR B4.6).
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
        """Take it away from this user, so that it is nobody's; False if it was not his."""


class IUserDirectory(Interface):
    """Learns of every new profile (BEHAVIOUR B2.7). Optional."""

    def profile_created(user_id: UserID, display_name: Optional[str]) -> Awaitable[None]:
        """A profile exists now. Called from a job: at least once, retried until it succeeds."""


class IAppservices(Interface):
    """The application services that reserve names."""

    def reserved_for(user_id: UserID) -> Optional[str]:
        """The id of the service whose sender this is or whose exclusive namespace holds
        it; None if the name is nobody's."""


class IBlocking(Interface):
    """Whether the server takes anybody new at all (BEHAVIOUR B9)."""

    def check(registration: Registration) -> Awaitable[None]:
        """Raises the refusal, or returns."""


# === What the handler is made of =========================================================


class INames(Interface):
    """Which names may be registered (BEHAVIOUR B1), and the drawing of generated ones."""

    server_name: str = Attribute("The part of user IDs behind the colon.")

    def check(
        localpart: str,
        *,
        guest_access_token: Optional[Secret] = None,
        assigned_user_id: Optional[UserID] = None,
        early: bool = False,
        key: Optional[str] = None,
    ) -> Awaitable[Optional[UserID]]:
        """Pass silently or raise the first refusal of B1.

        ``assigned_user_id``: what the UIA session has already registered. ``early``: the
        request does not complete, so that with ``inhibit_user_in_use_error`` a taken name
        passes. ``key``: the registration's; a name that it has taken itself passes, since
        the answer may have been lost, or another process be about to give it.

        Returns the guest who is being upgraded, or None.
        """

    def check_not_reserved(user_id: UserID, allowed_appservice: Optional[str] = None) -> None:
        """Raises UsernameReserved for the server-notices user and for an application
        service's names, unless it is ``allowed_appservice`` (an id) itself (B1.5)."""

    def draw() -> Awaitable[UserID]:
        """The next generated name that is neither taken nor reserved (B2.5)."""


class Verdict(enum.Enum):
    """What spam checkers say (BEHAVIOUR B2.2)."""

    ALLOW = "allow"
    DENY = "deny"
    SHADOW_BAN = "shadow_ban"


class IAdmission(Interface):
    """Who is let in: limits, spam checkers, blocking, third-party-identifier rules."""

    def peek(address: Optional[str]) -> Awaitable[None]:
        """Raises LimitExceeded if a registration from here would be refused now."""

    def take(registration: Registration) -> Awaitable[None]:
        """Count this registration against its address; LimitExceeded if there is no room."""

    def give_back(registration: Registration) -> Awaitable[None]:
        """Undo ``take``: the registration was refused."""

    def judge(registration: Registration) -> Awaitable[Verdict]:
        """What the spam checkers say, ALLOW or SHADOW_BAN. For DENY raises LimitExceeded, just
        as ``take`` would (B2.2); Unavailable if a checker fails (B10.3)."""

    def check(registration: Registration) -> Awaitable[None]:
        """Raises if its identifiers are denied, or the server takes nobody but an admin's."""


class ILogins(Interface):
    """Makes logins; stores nothing (BEHAVIOUR B4)."""

    def terms(request: DeviceRequest) -> LoginTerms:
        """What such a login grants from now on: device id and lifetimes, every cap applied.

        Raises InvalidParam for a device id or display name that is not acceptable, Forbidden
        for a guest where sessions must end (B4.2)."""

    def issue(user_id: UserID, terms: LoginTerms, key: str) -> Login:
        """The tokens for these terms: the same arguments, the same tokens (B4.7)."""


class IForgetful(Interface):
    """Something that keeps rows of accounts."""

    def forget(user_id: UserID) -> Awaitable[None]:
        """The account is no more: of what is kept here nothing is of use to anybody any longer.
        Again is as once; a user who does not exist is forgotten already."""


class IFarewell(Interface):
    def deactivated(user_id: UserID) -> Awaitable[None]:
        """Forget all that is kept of an account that is no more. Again is as once, so that who
        was interrupted simply asks again."""


class IHasher(Interface):
    """Hashes passwords without blocking the reactor, in a bounded queue (BEHAVIOUR B14.2)."""

    def hash(password: Secret, once: Optional[str] = None) -> Awaitable[str]:
        """The hash to store. ``once`` names a dialogue in which the same password is hashed
        only one time. Raises LimitExceeded when too many are waiting."""

    def verify(password: Secret, stored: Optional[str]) -> Awaitable[bool]:
        """Whether the password fits; takes as long for None (an account without one)."""

    def has_room() -> bool:
        """Whether the queue is less than half full: time for work that can be put off."""


class IFollowUps(Interface):
    """Which jobs an account brings with it."""

    def jobs_for(new: NewAccount) -> Sequence[NewJob]:
        """What must still happen once this account exists."""


class IRegistrationWriter(Interface):
    """Does what only a master does. Local, remote or an embedder's own: the same contract."""

    def create_account(new: NewAccount) -> Awaitable[Created]:
        """The only place where an account begins: atomic, and once a key.

        The same key again returns the same answer, tokens included (BEHAVIOUR B4.7).
        Raises as IAccountStore.create_account does.
        """

    def repeat(outcome: Outcome) -> Awaitable[Created]:
        """The answer that this finished outcome had, tokens included; nothing is written anew."""

    def register_device(user_id: UserID, device: NewDevice) -> Awaitable[Login]:
        """As IDevices.register."""


# === Limits ==============================================================================


class ILimiter(Interface):
    """One rate limit; ``key`` says whose."""

    def peek(key: str) -> Awaitable[None]:
        """Raises LimitExceeded if ``take`` would; counts nothing."""

    def take(key: str) -> Awaitable[None]:
        """Count one, or raise LimitExceeded and count nothing."""

    def give_back(key: str) -> Awaitable[None]:
        """Undo one ``take``."""


class ITurnstile(Interface):
    """A limit on requests under way, rather than on their number."""

    def enter(key: str) -> Awaitable[None]:
        """Wait for one's turn, or raise LimitExceeded. Whoever got in must ``leave``."""

    def leave(key: str) -> None:
        """The request is over."""


# === Callbacks ===========================================================================


class ISpamChecks(Interface):
    def judge(registration: Registration) -> Awaitable[Verdict]:
        """The first answer that isn't ALLOW wins; Unavailable if a checker fails."""


class IThreepidRules(Interface):
    def is_allowed(medium: str, address: str, registering: bool) -> Awaitable[bool]:
        """Whether an account here may have this address (canonical form); the first no wins."""


class IThreepidChanges(Interface):
    """Who is asked before an account's identifiers change, and told when they have (B10.4)."""

    def check(user_id: UserID, medium: str, address: str, adding: bool) -> Awaitable[None]:
        """Raises ThreepidChangeRefused if somebody objects, Unavailable if somebody can't be
        asked."""

    def added(user_id: UserID, medium: str, address: str) -> None:
        """An account has one more. Who is told can neither fail nor delay the change."""

    def removed(user_id: UserID, medium: str, address: str) -> None:
        """An account has it no more."""


# === Proofs of third-party identifiers ===================================================


class IValidationStore(Interface):
    """The sessions that prove addresses. They survive a restart (BEHAVIOUR B16.19)."""

    def begin(new: NewValidation) -> Awaitable[ValidationBegun]:
        """The session of this medium, address, client secret and asker that is not validated yet,
        begun if there is none (BEHAVIOUR B7.5).

        A ``send_attempt`` above its last one adds a token, and the job that sends it, in the
        same transaction; what was there stays good. Another changes nothing.
        """

    def get(sid: str, now_ms: int) -> Awaitable[Optional[Validation]]:
        """The session, if it exists and has not expired."""

    def count_try(sid: str) -> Awaitable[bool]:
        """Count one more try of its code; False if it has had CODE_TRIES."""

    def confirm(sid: str, now_ms: int) -> Awaitable[bool]:
        """Its address is proven, unless it had been before, and it lives on for VALIDATED_MS;
        False if it has expired."""

    def claim(sid: str, session_id: str, until_ms: int) -> Awaitable[bool]:
        """It belongs to this UIA session from now on, and lives as long; False if it belongs to
        another or to an account (``user_id``), or is not validated."""

    def use(sid: str) -> Awaitable[bool]:
        """What it proves has been added to the account that it is for: it is used up; False if
        it had been, or is for no account."""

    def adopt(proof: Threepid, session_id: str, until_ms: int) -> Awaitable[bool]:
        """Another server has proven this: the proof belongs to this UIA session, and that is
        remembered until then; False if it belongs to another."""


class IPhoneProofs(Interface):
    """The dialogue by which somebody proves a phone number, whoever sends the codes."""

    def request_token(
        body: Mapping[str, Any], client: Client, languages: Sequence[str]
    ) -> Awaitable[Mapping[str, Any]]:
        """Have a code sent, in the first of these languages that there is; what the client is to
        know, its ``sid`` above all. Raises what a requestToken is refused with (BEHAVIOUR B7.2-3).
        """

    def submit_token(sid: str, client_secret: str, token: str, client: Client) -> Awaitable[None]:
        """The code has come back, and was right; else ValidationRefused or DelegateRefused."""


class IPhoneProver(Interface):
    """Another server that proves phone numbers (BEHAVIOUR B7.8). Each of its methods raises
    Unavailable if it cannot be asked, or its answer says nothing."""

    def request_token(fields: Mapping[str, Any]) -> Awaitable[Mapping[str, Any]]:
        """Have a code sent. ``fields`` are the specification's, and so are those of the answer,
        which has a ``sid``. Raises DelegateRefused."""

    def submit_token(sid: str, client_secret: str, token: str) -> Awaitable[bool]:
        """Whether the code was right. Raises DelegateRefused."""

    def proven(sid: str, client_secret: str) -> Awaitable[Optional[Threepid]]:
        """What this session has proven, in its canonical form; None: nothing."""


class IValidationMails(Interface):
    """Tells people what their address is asked to confirm."""

    def send(mail: ValidationMail) -> Awaitable[None]:
        """Compose the mail and hand it to a server that takes responsibility for it.

        Ends within JOB_LEASE_MS. Returns also if the mail can never be delivered; raises if
        it should be tried again.
        """


# === What goes out =======================================================================


class ISmsSender(Interface):
    """The way text messages take."""

    def send(number: str, text: str) -> Awaitable[None]:
        """Hand the message to somebody who takes responsibility for it.

        ``number``: the digits of E.164, without a ``+``. Ends within JOB_LEASE_MS. Raises
        SmsRefused if it can never be delivered, else whatever: it is tried again.
        """


class IMailer(Interface):
    """The way mails take."""

    def send(mail: Mail) -> Awaitable[None]:
        """Hand the mail over to a server that takes responsibility for it.

        Ends within ``regsys.model.JOB_LEASE_MS``, so that a job can wait for it. Raises
        MailDeferred if it should be tried again, MailRefused if that would be useless.
        After MailDeferred the mail may have gone out all the same: the answer was lost.
        """


# === User-interactive authentication =====================================================


@attr.frozen(kw_only=True)
class StageContext:
    """What a stage may know of the request it is tried in."""

    session: UIASession
    client: Client


@attr.frozen(kw_only=True)
class StagePage:
    """How a person passes a stage in a browser (BEHAVIOUR B8.10): the inside of a form.

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
        StageFailed(errcode, text) when it is not passed, Unavailable when a backend that
        is needed cannot be asked: the session lives on either way.
        """


class ISessionStore(Interface):
    """The UIA sessions. They survive a restart (BEHAVIOUR B16.19)."""

    def add(session: UIASession, at_most: int) -> Awaitable[bool]:
        """Store a new session, unless its address has ``at_most`` unfinished ones: False."""

    def get(session_id: str, now_ms: int) -> Awaitable[Optional[UIASession]]:
        """The session, if it exists and has not expired, with its outcome if it has one."""

    def save(
        session_id: str,
        client: Client,
        params: Optional[Mapping[str, Any]],
        results: Mapping[str, Any],
        new_password: bool = False,
    ) -> Awaitable[None]:
        """Keep progress: ``params`` replace those remembered (None leaves them), ``client``
        and ``results`` are added to what is there. With ``new_password`` the hash that was kept
        is forgotten. A session that is gone stays gone."""

    def keep_hash(session_id: str, password_hash: str) -> Awaitable[None]:
        """Keep the hash of the session's password, unless the session is finished."""

    def remove(session_id: str) -> Awaitable[bool]:
        """Forget the session; False if there is none. Of several who do, at most one is told
        True (nobody, where the answer to him was lost)."""


# === Registration tokens =================================================================


class IRegistrationTokenStore(Interface):
    """Registration tokens, and the uses that sessions hold of them (BEHAVIOUR B8.8)."""

    def create(token: RegistrationToken) -> Awaitable[bool]:
        """Store a new token; False if there is one of this name."""

    def get(token: str, now_ms: int) -> Awaitable[Optional[RegistrationToken]]:
        """The token with its uses as they stand now; None: there is none."""

    def list(now_ms: int) -> Awaitable[Sequence[RegistrationToken]]:
        """All tokens, the oldest first."""

    def change(token: str, changes: Mapping[str, Any]) -> Awaitable[bool]:
        """Set ``uses_allowed``, ``expiry_ms``, ``revoked`` or ``note``; False: no such token."""

    def delete(token: str) -> Awaitable[bool]:
        """Forget it, and the uses that are held; False: no such token."""

    def uses(token: str) -> Awaitable[Sequence[TokenUse]]:
        """The accounts that it has let in, the oldest first."""

    def reserve(token: str, session_id: str, now_ms: int) -> Awaitable[bool]:
        """Hold a use for this session, for RESERVED_MS; False if none is left.

        A session holds one use at most: this one replaces what it held, of whatever token.
        The transaction that makes the account uses it up (NewAccount.registration_token).
        """


# === Captchas ============================================================================


class ICaptchaVerifier(Interface):
    """Knows whether somebody has solved a captcha (BEHAVIOUR B8.7)."""

    def verify(response: str, address: str) -> Awaitable[bool]:
        """Whether this response, which a person at ``address`` brought, is a solution.

        Asking may use it up. Raises Unavailable if that cannot be found out; then nothing
        is known of the response, and it may be tried again.
        """


# === Stores that only the standalone service needs =======================================


class ITokenStore(Interface):
    """Pairs of access and refresh tokens, by their hashes (``regsys.tokens.token_hash``)."""

    def by_access(access_hash: str) -> Awaitable[Optional[StoredLogin]]:
        """The pair, expired or spent ones included; None once its device is gone."""

    def by_refresh(refresh_hash: str) -> Awaitable[Optional[StoredLogin]]:
        """The same, found by its refresh token."""

    def confirm(access_hash: str) -> Awaitable[None]:
        """A new pair is in use: the one that it replaces is spent now (BEHAVIOUR B4.6)."""

    def succeed(predecessor: str, user_id: UserID, login: Login) -> Awaitable[bool]:
        """Add the pair that replaces ``predecessor`` (an access hash), in place of an
        earlier successor that nobody has used; False if one is in use, or the device gone."""

    def log_out(user_id: UserID, device_id: Optional[str]) -> Awaitable[None]:
        """Remove this device and its tokens; None: all of the user's."""


class IJobStore(Interface):
    """Jobs, each held by at most one process at a time, by a lease."""

    def claim(now_ms: int, lease_ms: int, at_most: int) -> Awaitable[Sequence[Job]]:
        """Take over up to ``at_most`` jobs that are due and that nobody holds."""

    def finish(job_id: str) -> Awaitable[None]:
        """It is done: forget it."""

    def postpone(job_id: str, due_ms: int, error: str) -> Awaitable[None]:
        """It failed: release it, to be tried again at ``due_ms``."""

    def add(jobs: Sequence[NewJob], now_ms: int) -> Awaitable[None]:
        """Store jobs that no account brings; held by nobody."""


class IOutcomeStore(Interface):
    """Our own record of accounts made in somebody else's store (``regsys.foreign_writer``)."""

    def reserve(new: NewAccount, recovery: NewJob) -> Awaitable[Optional[Outcome]]:
        """Note that this key is under way, with the job that ends it should we die, and hold
        the use of its registration token until it ends; InvalidRegistrationToken if none is left.

        None: noted now. Otherwise what an earlier call noted under the key, whose
        ``finished`` says whether it got to its end."""

    def settle(new: NewAccount, recovery_id: str) -> Awaitable[bool]:
        """The account exists: record the outcome, count the use of its registration token,
        finish its session, store its jobs, held.

        False if that had been done already: then nothing was changed."""

    def withdraw(new: NewAccount, recovery_id: str) -> Awaitable[None]:
        """The store refused it: its key has made nothing."""


class IConsentStore(Interface):
    """Who has accepted which policies. What comes with an account is written with it."""

    def record(user_id: UserID, accepted: Mapping[str, str], now_ms: int) -> Awaitable[None]:
        """Remember that these versions, each by the name of its policy, have been accepted; one
        that had been before keeps the moment of the first time."""

    def given_by(user_id: UserID) -> Awaitable[Sequence[Consent]]:
        """All that this user has ever accepted, the oldest first."""


class INonceStore(Interface):
    """What is good once: nonces for one attempt, captcha responses for one session."""

    def use(nonce: str, until_ms: int) -> Awaitable[bool]:
        """Use it up; False if somebody has. It must be remembered until ``until_ms``."""


class IExpiring(Interface):
    """Rows with an end: sessions, outcomes, spent tokens, reservations."""

    def delete_expired(now_ms: int, at_most: int) -> Awaitable[int]:
        """Remove up to ``at_most`` rows whose time is over; returns how many went."""
