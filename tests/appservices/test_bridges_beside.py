"""mautrix, the library of many bridges, beside a regsys that is a Synapse's auth service."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from pathlib import Path
from typing import Any

from mautrix.appservice import AppService
from mautrix.client import ClientAPI
from mautrix.errors import MatrixRequestError, MUserInUse
from mautrix.types import EventType, UserID

from tests.appservices.bridges import SERVICE, registration
from tests.appservices.test_bridges import BOT, StateStore
from tests.support.client import V3
from tests.support.delegation import PublicCase
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.service_process import SERVER_NAME

GHOST = UserID(f"@_irc_bob:{SERVER_NAME}")
# Synapse takes none with a space.
TOKEN = "the-token-of-the-bridge"


class Bridge:
    """One that runs in a thread: its bot goes where it is invited, and a ghost repeats there what
    users say."""

    def __init__(self, case: Any, homeserver: str, port: int) -> None:
        self.homeserver, self.port = homeserver, port
        self.failures: list[BaseException] = []
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        case.addCleanup(self.end)
        self.do(self._start())

    def do(self, coroutine: Any) -> Any:
        """What the coroutine returns, which runs in the bridge."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(PATIENCE_S)

    def end(self) -> None:
        self.do(self.service.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _start(self) -> None:
        self.service = AppService(
            server=self.homeserver,
            domain=SERVER_NAME,
            as_token=TOKEN,
            hs_token="the-token-of-the-server",
            bot_localpart=BOT[1:].split(":")[0],
            id="irc",
            log=logging.getLogger("mau"),
            state_store=StateStore(),
        )
        self.service.matrix_event_handler(self._handle)
        await self.service.start("127.0.0.1", self.port)
        await self.service.intent.ensure_registered()

    async def _handle(self, event: Any) -> None:
        bot = self.service.intent
        try:
            if event.type == EventType.ROOM_MEMBER and event.state_key == BOT:
                if event.content.membership.value == "invite":
                    await bot.join_room_by_id(event.room_id)
            elif event.type == EventType.ROOM_MESSAGE and event.sender != GHOST:
                ghost = bot.user(GHOST)
                await ghost.ensure_joined(event.room_id, bot=bot)
                await ghost.send_text(event.room_id, f"{event.content.body}!")
        except BaseException as error:
            self.failures.append(error)
            raise


class BridgeBesideTests(PublicCase):
    """The bridge asks the Synapse directly, as docs/synapse-routes.md says."""

    def setUp(self) -> None:
        cls = type(self)
        if cls.homeserver is None:
            cls.bridge_port = free_port()
            url = f"http://127.0.0.1:{cls.bridge_port}"
            users = [{"regex": f"@_?irc_.*:{SERVER_NAME}", "exclusive": True}]
            hs = {"as_token": TOKEN, "hs_token": "the-token-of-the-server"}
            irc = registration(url=url, **hs, namespaces={"users": users})
            path = Path(self.mktemp()).absolute()
            path.write_text(json.dumps(irc))
            cls.synapse_options = cls.options = {"app_service_config_files": [str(path)]}
        super().setUp()
        assert self.there is not None
        self.bridge = Bridge(self, self.there.base_url, self.bridge_port)

    def test_ghosts(self) -> None:
        """Alice invites the bot; a ghost is registered, joins, and says something that she sees."""
        alice = self.registered("alice")["access_token"]
        invite = {"preset": "private_chat", "invite": [BOT]}
        room = self.at("POST", "createRoom", alice, invite).json["room_id"]

        def members() -> Any:
            return self.at("GET", f"rooms/{room}/joined_members", alice).json["joined"]

        until(lambda: BOT in members(), lambda: str(self.bridge.failures))
        message = {"msgtype": "m.text", "body": "hello"}
        self.at("PUT", f"rooms/{room}/send/m.room.message/1", alice, message)

        heard: list[Any] = []
        since = ""

        def answered() -> bool:
            nonlocal since
            synced = self.at("GET", f"sync?timeout=1000{since}", alice).json
            since = f"&since={synced['next_batch']}"
            joined = synced.get("rooms", {}).get("join", {}).get(room, {"timeline": {"events": ()}})
            events = joined["timeline"]["events"]
            heard.extend((it["sender"], it["content"].get("body")) for it in events)
            return (GHOST, "hello!") in heard

        until(answered, lambda: f"{heard} {self.bridge.failures}")
        self.assertEqual(self.bridge.failures, [])

    def test_names(self) -> None:
        """People get no name of the bridge, at the public address. A ghost that a bridge registers
        there is one at the Synapse."""
        for name in ("irc_carol", "ircbot"):
            refused = self.register(name)
            self.assertEqual((refused.status, refused.json["errcode"]), (400, "M_EXCLUSIVE"))
        ghost = {"type": SERVICE, "username": "_irc_dave", "inhibit_login": True}
        made = self.regsys.ask("POST", f"{V3}/register", ghost, token=TOKEN)
        self.assertEqual(made.json["user_id"], f"@_irc_dave:{SERVER_NAME}")
        dave = self.bridge.service.intent.user(UserID(made.json["user_id"]))
        self.assertEqual(self.bridge.do(dave.whoami()).user_id, made.json["user_id"])
        with self.assertRaises(MUserInUse):
            self.bridge.do(dave._register())

    def test_logins(self) -> None:
        """A ghost gets no login, at either address; for its encryption a bridge makes and deletes
        the ghost's device with its own token, at the Synapse: regsys knows no ghosts."""
        ghost = UserID(f"@_irc_erin:{SERVER_NAME}")
        self.bridge.do(self.bridge.service.intent.user(ghost).ensure_registered())
        refusals = []
        for url in (self.public, self.there.base_url):
            client = ClientAPI(
                ghost, base_url=url, token=TOKEN, client_session=self.bridge.service.http_session
            )
            with self.assertRaises(MatrixRequestError) as caught:
                self.bridge.do(client.login(login_type=SERVICE, device_id="BRIDGE"))
            refusals.append((caught.exception.http_status, str(caught.exception)))
        self.assertEqual([status for status, text in refusals], [400, 404])
        self.assertIn("M_APPSERVICE_LOGIN_UNSUPPORTED", refusals[0][1])
        flows = self.regsys.ask("GET", f"{V3}/login").json["flows"]
        self.assertEqual(flows, [{"type": "m.login.password"}])
        self.bridge.do(client.create_device_msc4190("BRIDGE", "a bridge"))
        who = self.bridge.do(client.whoami())
        self.assertEqual((who.user_id, who.device_id), (ghost, "BRIDGE"))
        path = f"{V3}/devices/BRIDGE?user_id={ghost}"
        self.assertEqual(self.regsys.ask("DELETE", path, {}, token=TOKEN).status, 403)
        self.assertEqual(self.there.ask("DELETE", path, {}, token=TOKEN).status, 200)
