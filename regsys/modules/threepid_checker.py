"""A module of ours: another server says which addresses may be used here (contract B10.5)."""

from __future__ import annotations

from typing import Any, Mapping

import attr

from regsys.errors import NoAnswer
from regsys.modules.api import ModuleApi, policy_servers
from regsys.modules.asking import checked_options, object_of
from regsys.modules.names.errors import ConfigError


@attr.frozen
class ThreepidCheckerConfig:
    """``url`` is asked by GET, with ``medium`` and ``address`` in its query."""

    url: str = attr.field(repr=False)
    only_check_at_registration: bool = False


class ThreepidChecker:
    """Asks for the homeserver of an address, which must be this one. What is no well-formed answer
    refuses the request, which can be sent again."""

    def __init__(self, config: ThreepidCheckerConfig, api: ModuleApi) -> None:
        self.config = config
        self.server_name = api.server_name
        self.servers = policy_servers(api)
        api.register_password_auth_provider_callbacks(is_3pid_allowed=self.is_allowed)

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> ThreepidCheckerConfig:
        options = checked_options(config, ["only_check_at_registration"])
        alone = options.get("only_check_at_registration", False)
        if not isinstance(alone, bool):
            raise ConfigError("write true or false", ["only_check_at_registration"])
        return ThreepidCheckerConfig(options["url"], alone)

    async def is_allowed(self, medium: str, address: str, registration: bool) -> bool:
        if self.config.only_check_at_registration and not registration:
            return True
        query = {"medium": medium, "address": address}
        found = object_of(await self.servers.get(self.config.url, query))
        server = found.get("hs")
        if server is not None and not isinstance(server, str):
            raise NoAnswer("its hs is no text")
        needs_invite, invited = (_bool(found, name) for name in ("requires_invite", "invited"))
        return server == self.server_name and (invited or not needs_invite)


def _bool(found: Mapping[str, Any], name: str) -> bool:
    value = found.get(name, False)
    if not isinstance(value, bool):
        raise NoAnswer(f"its {name} is neither true nor false")
    return value
