"""What is custom, for ``regsys.hooks``: UIA stages, the spam verdicts, senders of messages, and
followers of registrations."""

from __future__ import annotations

import enum
from typing import Any, Awaitable, Mapping, Optional

import attr
from zope.interface import Attribute, Interface

from regsys.model import AccountFacts, Client, UIASession, UserID, ValidationMail


class Verdict(enum.Enum):
    """What a spam check returns (contract B2.2)."""

    ALLOW = "allow"
    DENY = "deny"
    SHADOW_BAN = "shadow_ban"
    # The account is made, and waits for an administrator: a guest's is denied.
    NEEDS_APPROVAL = "needs_approval"


@attr.frozen(kw_only=True)
class StageContext:
    """What a stage may know of the request in which it is tried."""

    session: UIASession
    client: Client


@attr.frozen(kw_only=True)
class StagePage:
    """How a person passes a stage in a browser (contract B8.10): the inside of a form.

    ``template`` is a file name among the templates. The template gets ``stage``, ``params`` (as
    ``IStage.params`` returns them, {} for None), ``session_id`` and ``failure`` (a sentence, or
    None), and may set ``title``, the page's heading (docs/pages.md). ``fields`` maps each field of
    the form to its key in the ``auth`` dict; all of them are required. ``sources`` are what the
    page may load beside our own files: sources by directive of the Content-Security-Policy.
    """

    template: str
    fields: Mapping[str, str] = attr.field(factory=dict)
    sources: Mapping[str, tuple[str, ...]] = attr.field(factory=dict)


class IStage(Interface):
    """One stage of user-interactive authentication: ``stages=``. See docs/hooks.md."""

    type: str = Attribute("The stage's name in flows, such as ``m.login.dummy``.")
    page: Optional[StagePage] = Attribute(
        "How a person passes it in a browser; None if there is nothing to do in one."
    )

    def params(session: UIASession) -> Optional[Mapping[str, Any]]:
        """What a client must know to attempt the stage, for ``params``; None if nothing."""

    def check(auth: Mapping[str, Any], context: StageContext) -> Awaitable[Any]:
        """Check the client's ``auth`` dict, which may hold any JSON.

        Raises StageFailed(errcode, text) if the stage is not passed, Unavailable if a service that
        it needs cannot be asked. The session goes on in both cases. Whatever is returned passes
        the stage: it is what the session remembers (JSON), True if there is nothing to remember.
        False and None are a mistake (TypeError): the client gets a 500, and has not passed.
        """


class IValidationMails(Interface):
    """Sends the mails by which users validate an email address: ``mails=``."""

    def send(mail: ValidationMail) -> Awaitable[Optional[str]]:
        """Compose the mail and hand it to a server that takes responsibility for it.

        Ends within JOB_LEASE_MS. Returns also if the mail can never be delivered, perhaps with the
        reason in words for the operator; raises if it should be sent again.
        """


class ISmsSender(Interface):
    """Sends text messages: ``sms=``."""

    def send(number: str, text: str) -> Awaitable[None]:
        """Hand the message to a server that takes responsibility for it.

        ``number``: the digits of E.164, without a ``+``. Ends within JOB_LEASE_MS. Raises
        SmsRefused if the message can never be delivered; after any other exception it is sent
        again.
        """


class IFollower(Interface):
    """Is told of every account that is made: ``followers=``."""

    name: str = Attribute(
        "Identifies the follower, also over restarts: 1 to 64 of the characters 0-9 A-Z a-z . _ -"
    )

    def registered(user_id: UserID, facts: AccountFacts) -> Awaitable[None]:
        """Do what is to follow from this account, which exists.

        Called for each account until it returns once, and once more when a guest becomes a user
        (``facts.upgraded_guest``). After a crash it may be called again for what was done already:
        have one effect for each ``user_id``. If it raises, or misses its deadline, it is called
        again later; the account may have been deactivated by then.
        """
