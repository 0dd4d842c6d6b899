"""Application services, for tests over the real resource: their registration files and requests."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional

import yaml

from tests.support.case import SystemCase
from tests.support.client import V3, Answer

SERVICE = "m.login.application_service"
TOKEN = "the token of the bridge"
OTHER_TOKEN = "the token of the other"
REGISTER = f"{V3}/register"
DEVICE = {"device_id": "PHONE", "initial_device_display_name": "my phone"}


def registration(**changes: Any) -> dict[str, Any]:
    """The registration file of the bridge ``irc``, with these keys in the place of its own."""
    users = [
        {"regex": "@_irc_.*:test\\.example", "exclusive": True},
        {"regex": "@_open_.*", "exclusive": False},
    ]
    return {
        "id": "irc",
        "url": None,
        "as_token": TOKEN,
        "hs_token": "the token of the server",
        "sender_localpart": "ircbot",
        "namespaces": {"users": users},
        **changes,
    }


def other(**changes: Any) -> dict[str, Any]:
    """The registration file of another service, which shares the names ``_open_…`` with the
    bridge."""
    users = [
        {"regex": "@_other_", "exclusive": True},
        {"regex": "@_open_.*", "exclusive": False},
    ]
    mine = {"id": "other", "as_token": OTHER_TOKEN, "sender_localpart": "otherbot"}
    return registration(**mine, namespaces={"users": users}, **changes)


class BridgeCase(SystemCase):
    """A server with two services; ``options`` are more of its configuration."""

    services: ClassVar[tuple[Mapping[str, Any], ...]] = (registration(), other())

    def system(self, **given: Any) -> None:
        """``services`` are the registration files to be there."""
        files = given.pop("services", self.services)
        paths = [self.file(content) for content in files]
        super().system(**{"app_service_config_files": paths, **given})

    def file(self, content: Mapping[str, Any]) -> str:
        path: str = self.mktemp()
        with open(path, "w", encoding="utf-8") as file:
            yaml.safe_dump(dict(content), file)
        return path

    def ask(
        self, username: Any = "_irc_alice", token: Optional[str] = TOKEN, **more: Any
    ) -> Answer:
        """A service's request for an account."""
        return self.client.post(
            REGISTER, {"type": SERVICE, "username": username, **more}, token=token
        )

    def made(self, username: str = "_irc_alice", **more: Any) -> Any:
        """The body of the answer to a request that succeeds."""
        answer = self.ask(username, **more)
        self.assertEqual(answer.status, 200, answer)
        return answer.json

    def log_in(self, user: str = "_irc_alice", token: Optional[str] = TOKEN, **more: Any) -> Answer:
        identifier = {"type": "m.id.user", "user": user}
        body = {"type": SERVICE, "identifier": identifier, **more}
        return self.client.post(f"{V3}/login", body, token=token)

    def acts_as(self, user_id: Optional[str], token: Optional[str] = TOKEN) -> Answer:
        query = "" if user_id is None else f"?user_id={user_id}"
        return self.client.get(f"{V3}/account/whoami{query}", token=token)
