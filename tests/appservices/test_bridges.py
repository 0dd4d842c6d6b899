"""mautrix, the library of many bridges, registers ghosts against ``regsys serve`` over HTTP.

Everything is real: the service as a process, on SQLite and on PostgreSQL.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Awaitable, Callable, Mapping

import yaml
from aiohttp import ClientSession
from mautrix.appservice.api.appservice import AppServiceAPI
from mautrix.appservice.state_store import ASStateStore
from mautrix.client import ClientAPI
from mautrix.client.state_store import MemoryStateStore
from mautrix.errors import MExclusive, MForbidden, MUnknownToken, MUserInUse
from mautrix.types import UserID
from mautrix.util.logging import TraceLogger
from twisted.trial.unittest import SynchronousTestCase

from tests.appservices.bridges import SERVICE, TOKEN, registration
from tests.support import asynchronous, postgres
from tests.support.service_process import (
    SERVER_NAME,
    ServiceProcess,
    psycopg2,
    sqlite,
    write_config,
)

logging.setLoggerClass(TraceLogger)

BOT = UserID(f"@ircbot:{SERVER_NAME}")
GHOST = UserID(f"@_irc_Alice:{SERVER_NAME}")


class StateStore(MemoryStateStore, ASStateStore):
    """What bridges keep in a database; its contents end with the bridge."""

    def __init__(self) -> None:
        MemoryStateStore.__init__(self)
        ASStateStore.__init__(self)


class Bridges:
    """What every database must show; ``database(folder)`` gives its section of the file."""

    def bridge(self, talk: Callable[[AppServiceAPI], Awaitable[None]], token: str = TOKEN) -> None:
        """What a bridge with this token does that was just started."""

        async def start() -> None:
            async with ClientSession() as session:
                await talk(
                    AppServiceAPI(
                        base_url=self.service.base_url,
                        bot_mxid=BOT,
                        token=token,
                        log=logging.getLogger("mau"),
                        state_store=StateStore(),
                        client_session=session,
                    )
                )

        asynchronous.run(start())

    def setUp(self) -> None:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        users = [{"regex": f"@_irc_.*:{SERVER_NAME}", "exclusive": True}]
        path = folder / "irc.yaml"
        path.write_text(yaml.safe_dump(registration(namespaces={"users": users})))
        closed = {"enable_registration": False, "allow_guest_access": False}
        config = write_config(
            folder, self.database(folder), app_service_config_files=["irc.yaml"], **closed
        )
        self.service = ServiceProcess(self, config)

    def test_starts(self) -> None:
        """A bridge asks for its own user ID, registers its own user, and then its ghosts; restarted
        without its memory it takes M_USER_IN_USE for success."""

        async def first(api: AppServiceAPI) -> None:
            bot = api.bot_intent()
            self.assertEqual((await bot.whoami()).user_id, BOT)
            await bot.ensure_registered()
            self.assertEqual((await bot.whoami()).user_id, BOT)
            for number in range(20):
                await api.intent(UserID(f"@_irc_{number}:{SERVER_NAME}")).ensure_registered()
            await again(api)

        async def again(api: AppServiceAPI) -> None:
            ghost = api.intent(GHOST)
            await ghost.ensure_registered()
            self.assertEqual((await ghost.whoami()).user_id, GHOST)
            with self.assertRaises(MUserInUse):
                await ghost._register()

        self.bridge(first)
        self.bridge(again)

    def test_refusals(self) -> None:
        """A name outside its namespaces and a wrong token reach the bridge as the errors that it
        knows."""

        async def greedy(api: AppServiceAPI) -> None:
            with self.assertRaises(MExclusive):
                await api.intent(UserID(f"@alice:{SERVER_NAME}")).ensure_registered()

        async def stranger(api: AppServiceAPI) -> None:
            with self.assertRaises(MUnknownToken):
                await api.intent(GHOST).ensure_registered()

        self.bridge(greedy)
        self.bridge(stranger, token="another")

    def test_logsIn(self) -> None:
        """For encryption a bridge logs its ghosts in, with devices of their own."""

        async def log_in(api: AppServiceAPI) -> None:
            # As its encryption does: an ordinary client with the service's token.
            client = ClientAPI(
                GHOST, base_url=self.service.base_url, token=TOKEN, client_session=api.session
            )
            fields = {"login_type": SERVICE, "device_id": "BRIDGE"}
            with self.assertRaises(MForbidden):
                await client.login(**fields)
            await api.intent(GHOST).ensure_registered()
            answer = await client.login(**fields)
            self.assertEqual((answer.user_id, answer.device_id), (GHOST, "BRIDGE"))
            who = await client.whoami()
            self.assertEqual((who.user_id, who.device_id), (GHOST, "BRIDGE"))

        self.bridge(log_in)


class SQLiteBridgeTests(Bridges, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return sqlite(folder)


class PostgreSQLBridgeTests(Bridges, SynchronousTestCase):
    def database(self, folder: Path) -> Mapping[str, Any]:
        return psycopg2(postgres.dsn(self))
