"""A module of ours: another server decides about registrations (contract B10.2)."""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.logger import Logger

from regsys.errors import NoAnswer
from regsys.interfaces import Verdict
from regsys.modules.api import ModuleApi, policy_servers
from regsys.modules.asking import checked_options, object_of
from regsys.modules.names.errors import ConfigError

_DECISIONS = {verdict.value: verdict for verdict in Verdict}

log = Logger()


@attr.frozen
class PolicyWebhookConfig:
    """``url`` gets a POST. ``allows_unreachable``: whoever registers while it cannot be asked is
    allowed, not told to try again."""

    url: str = attr.field(repr=False)
    allows_unreachable: bool


class PolicyWebhook:
    """Posts what a spam checker gets, and does what the answer says."""

    def __init__(self, config: PolicyWebhookConfig, api: ModuleApi) -> None:
        self.config = config
        self.servers = policy_servers(api)
        api.register_spam_checker_callbacks(check_registration_for_spam=self.check)

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> PolicyWebhookConfig:
        options = checked_options(config, ["when_unreachable"])
        unreachable = options.get("when_unreachable")
        if unreachable not in ("allow", "refuse"):
            # No default: the one lets spam in, the other keeps people out.
            raise ConfigError(
                "write allow or refuse, for registrations while the server cannot be asked",
                ["when_unreachable"],
            )
        return PolicyWebhookConfig(options["url"], unreachable == "allow")

    async def check(
        self,
        email_threepid: Optional[dict[str, Any]],
        username: Optional[str],
        request_info: Sequence[tuple[str, str]],
        auth_provider_id: Optional[str] = None,
    ) -> Verdict:
        asked = {
            "email_threepid": email_threepid,
            "username": username,
            "request_info": [list(pair) for pair in request_info],
            "auth_provider_id": auth_provider_id,
        }
        try:
            return _verdict(object_of(await self.servers.post_json(self.config.url, asked)))
        except NoAnswer as reason:
            if not self.config.allows_unreachable:
                raise
            log.warn(
                "a registration is allowed, as the policy webhook gave no answer: {reason}",
                reason=str(reason),
            )
            return Verdict.ALLOW


def _verdict(answer: Mapping[str, Any]) -> Verdict:
    decision = answer.get("decision")
    if not isinstance(decision, str) or decision not in _DECISIONS:
        raise NoAnswer(f"its decision is none of {', '.join(_DECISIONS)}")
    return _DECISIONS[decision]
