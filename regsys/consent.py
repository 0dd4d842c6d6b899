"""Policies and consents: the terms stage, and personal links to the consent pages.

A personal link names its user and is signed with ``form_secret``: with it the policy can be
accepted for that user (contract B13).
"""

from __future__ import annotations

import hmac
from typing import Any, Callable, Mapping, Optional, Sequence
from urllib.parse import urlencode

import attr
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from regsys import clock
from regsys.config import TermsConfig
from regsys.config.terms import PRIVACY_POLICY, Policy
from regsys.errors import (
    Forbidden,
    UserNotFound,
)
from regsys.interfaces import IAccountStore, IStage, StageContext, StagePage
from regsys.interfaces.internal import IJobPlanner
from regsys.model import UIASession, UserID
from regsys.model.jobs import NewJob
from regsys.storage.consents import ConsentStore
from regsys.uia.stage_types import TERMS

# Below the public address.
PATH = "_matrix/consent"
# The job that comes with a consent: it begins the actions that have waited for it.
AFTER_CONSENT = "after_consent"


def policies_json(terms: TermsConfig, public_baseurl: str) -> Mapping[str, Any]:
    """The policies that new users must accept, for the params of ``m.login.terms`` (B8.9)."""
    return {
        name: {
            "version": policy.version,
            **{
                language: {
                    "name": text.name,
                    "url": text.url or f"{public_baseurl}{PATH}?{_query(name, policy, language)}",
                }
                for language, text in policy.texts.items()
            },
        }
        for name, policy in terms.at_registration.items()
    }


def _query(name: str, policy: Policy, language: str) -> str:
    if policy.texts[language].file is None:
        return urlencode({"v": policy.version})
    return urlencode({"p": name, "v": policy.version, "lang": language})


@attr.frozen(kw_only=True)
class Consents:
    """Users' consents to policies. ``public_baseurl`` ends with a slash."""

    terms: TermsConfig
    store: ConsentStore
    accounts: IAccountStore
    planners: IJobPlanner
    start_jobs: Callable[[Sequence[NewJob]], None]
    server_name: str
    public_baseurl: str
    clock: IReactorTime

    def link(self, user_id: UserID, policy: str = PRIVACY_POLICY) -> str:
        """The URL at which this user can read and accept the current version of a policy.

        Raises ValueError if we have no page for this policy, or if there is no ``form_secret``.
        """
        found = self.terms.policies.get(policy)
        if found is None or all(text.url is not None for text in found.texts.values()):
            raise ValueError(f"there is no page for the policy {policy!r}")
        who = user_id.localpart
        query = {"u": who, "h": self._signature(who)}
        if policy != PRIVACY_POLICY:
            query["p"] = policy
        return f"{self.public_baseurl}{PATH}?{urlencode(query)}"

    async def missing(self, user_id: UserID) -> Sequence[str]:
        """The policies whose current version this user has not accepted, by name."""
        return await self._missing(user_id, self.terms.policies)

    async def has_accepted_required(self, user_id: UserID) -> bool:
        """Whether this user has accepted the current versions of what new users must accept."""
        return not await self._missing(user_id, self.terms.at_registration)

    async def has_accepted(self, user_id: UserID, policy: str, version: str) -> bool:
        given = await self.store.given_by(user_id)
        return any((item.policy, item.version) == (policy, version) for item in given)

    async def accept(self, user_id: UserID, policy: str, version: str) -> None:
        """Record that the user has accepted this version. Idempotent."""
        await self.record(user_id, {policy: version})

    async def record(self, user_id: UserID, accepted: Mapping[str, str]) -> None:
        """Record that the user has accepted these versions, by policy name.

        A job that is stored with the consents checks afterwards whether these were the last
        required ones: of two concurrent consents the later one's job sees both.
        """
        now_ms = clock.now_ms(self.clock)
        jobs = []
        if self.planners.jobs_after_consent(user_id):
            jobs.append(NewJob(kind=AFTER_CONSENT, payload={"user_id": str(user_id)}))
        await self.store.record(user_id, accepted, now_ms, jobs)
        self.start_jobs(jobs)

    async def owner(self, who: str, signature: str) -> UserID:
        """The user of a personal link; ``who``: the localpart or user ID that was signed.

        Raises Forbidden if the signature is not ours, or if there is no ``form_secret``, and
        UserNotFound if there is no such account (only a valid link tells).
        """
        try:
            wanted = self._signature(who)
        except ValueError:
            raise Forbidden("This server has no links for single users.") from None
        if not hmac.compare_digest(wanted.encode("ascii"), signature.encode("utf-8")):
            raise Forbidden("This link is not valid: is it complete?")
        user_id = self._user_id(who)
        if user_id.server != self.server_name or not await self.accounts.is_taken(
            user_id.localpart
        ):
            raise UserNotFound()
        return user_id

    async def _missing(self, user_id: UserID, wanted: Mapping[str, Policy]) -> Sequence[str]:
        given = {(item.policy, item.version) for item in await self.store.given_by(user_id)}
        return [name for name, policy in wanted.items() if (name, policy.version) not in given]

    def _user_id(self, who: str) -> UserID:
        try:
            return UserID.parse(who)
        except ValueError:
            return UserID(who, self.server_name)

    def _signature(self, who: str) -> str:
        secret = self.terms.form_secret
        if secret is None:
            raise ValueError("there is no form_secret to sign links with")
        return hmac.new(secret.reveal().encode("utf-8"), who.encode("utf-8"), "sha256").hexdigest()


@implementer(IStage)
@attr.frozen
class TermsStage:
    """``m.login.terms``: passed by naming it (contract B16.2). The session stores which version of
    each policy was accepted. ``policies``: as of ``policies_json``, perhaps none."""

    policies: Mapping[str, Mapping[str, Any]]

    type = TERMS

    @property
    def versions(self) -> Mapping[str, str]:
        """The result of the stage: the version of each policy, by name."""
        return {name: policy["version"] for name, policy in self.policies.items()}

    @property
    def page(self) -> Optional[StagePage]:
        if not self.policies:
            return None
        return StagePage(template="stages/terms.html", fields={"accepted": "accepted"})

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return {"policies": self.policies} if self.policies else None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        return self.versions
