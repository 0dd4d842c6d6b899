"""docs/homeserver.md: its two files fit together, and a homeserver that reads them lets regsys
act."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from treq.testing import StubTreq
from twisted.internet.task import Clock

from regsys.config import parse
from regsys.model import NewRoom, UserID
from regsys.outbound.homeserver import Homeserver
from regsys.outbound.homeserver_rooms import HomeserverRooms
from regsys.outbound.http import HTTPClient
from tests.doubles.homeserver import HomeserverDouble
from tests.outbound.homeserver_case import HomeserverCase

PAGE = Path(__file__).parent.parent / "docs" / "homeserver.md"
# The keys that the application-service specification requires of a registration file.
KEYS = {"id", "url", "as_token", "hs_token", "sender_localpart", "namespaces"}


def examples() -> list[Any]:
    text = PAGE.read_text(encoding="utf-8")
    return [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL)]


class HomeserverDocumentTests(HomeserverCase):
    def test_examples(self) -> None:
        """With the registration file at the homeserver and the options here, a new user of any name
        gets a room; regsys cannot act for a user of another server."""
        registration, options = examples()
        self.assertLessEqual(KEYS, set(registration))
        self.assertIs(registration["rate_limited"], False)
        self.assertEqual(set(registration["namespaces"]), {"users", "aliases", "rooms"})
        (users,) = registration["namespaces"]["users"]
        self.assertIs(users["exclusive"], True)

        config = parse(options)
        assert config.homeserver is not None
        self.double = HomeserverDouble(
            server=config.server_name,
            namespace=users["regex"],
            as_token=registration["as_token"],
            sender_localpart=registration["sender_localpart"],
        )
        http = HTTPClient(StubTreq(self.double), Clock())
        self.homeserver = Homeserver.from_config(config.homeserver, config.server_name, http)
        rooms = HomeserverRooms(homeserver=self.homeserver)
        (alias,) = options["auto_join_rooms"]
        for name in ("alice", "_Ghost/of=thé"):
            made = NewRoom(alias=alias.replace("lobby", str(len(name))), preset="public_chat")
            self.wait(rooms.create(UserID(name, config.server_name), made))
        self.assertFalse(re.match(users["regex"], "@alice:example.org"))
        self.assertFalse(re.match(users["regex"], "@alice:examplexcom"))
