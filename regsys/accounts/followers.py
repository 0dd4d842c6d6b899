"""Followers: parts of an embedder's that are told of each new account, each by jobs of its own."""

from __future__ import annotations

import re
from typing import Any, Sequence

import attr
from zope.interface import implementer

from regsys.interfaces import IFollower
from regsys.interfaces.internal import IJobPlanner
from regsys.model import AccountFacts, NewAccount, UserID
from regsys.model.account_json import facts_json, parse_facts
from regsys.model.jobs import Job, NewJob
from regsys.uia.stage_types import REGISTRATION_TOKEN

TELL_FOLLOWER = "tell_follower"
_NAME = re.compile(r"[0-9A-Za-z._-]{1,64}")


def check_followers(instance: object, attribute: object, followers: Sequence[IFollower]) -> None:
    """Validate the field ``followers``: TypeError or ValueError for names that do not identify
    each follower."""
    names = set()
    for follower in followers:
        name = getattr(follower, "name", None)
        if not isinstance(name, str):
            raise TypeError(f"followers: {follower!r} must have a name, a str")
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"followers: the name {name!r} must be 1 to 64 of the characters 0-9 A-Z a-z . _ -"
            )
        if name in names:
            raise ValueError(f"followers: two have the name {name!r}, which must tell them apart")
        names.add(name)


@implementer(IJobPlanner)
@attr.frozen
class FollowerNotice:
    """Tells one follower of every account. Its jobs are a kind of their own: a follower that fails
    or stalls delays no other, and a process without this follower leaves them to others."""

    follower: IFollower

    @property
    def kind(self) -> str:
        return f"{TELL_FOLLOWER}:{self.follower.name}"

    def jobs_for(self, new: NewAccount) -> Sequence[NewJob]:
        user_id = str(new.user_id)
        # post_registration_actions plans for an account once more, and a guest may become a user.
        state = "guest" if new.is_guest else "user"
        return (
            NewJob(
                kind=self.kind,
                payload={"user_id": user_id, "facts": facts_json(facts_of(new))},
                dedup_key=f"{self.kind} {user_id} {state}",
            ),
        )

    def jobs_after_consent(self, user_id: UserID) -> Sequence[NewJob]:
        return ()

    async def run(self, job: Job) -> None:
        """The handler of this kind of job."""
        user_id, facts = UserID.parse(job.payload["user_id"]), parse_facts(job.payload["facts"])
        await self.follower.registered(user_id, facts)


def facts_of(new: NewAccount) -> AccountFacts:
    """What followers are told of this account."""
    stages: dict[str, Any] = dict(new.stages)
    if REGISTRATION_TOKEN in stages:
        stages[REGISTRATION_TOKEN] = True
    return AccountFacts(
        created_ms=new.created_ms,
        is_guest=new.is_guest,
        upgraded_guest=new.upgrades_guest,
        admin=new.admin,
        user_type=new.user_type,
        approved=new.approved,
        shadow_banned=new.shadow_banned,
        display_name=new.display_name,
        appservice_id=new.appservice_id,
        is_ghost=new.is_ghost,
        auth_provider_id=new.auth_provider_id,
        threepids=new.threepids,
        consents=new.consents,
        stages=stages,
        extra=new.extra,
        device_id=None if new.device is None else new.device.login.device_id,
    )
