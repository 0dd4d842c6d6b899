"""A homeserver, much too small, that lets regsys make its accounts.

docs/embedding.md walks through it. Run it with

    python docs/examples/embedding.py DIRECTORY PORT
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sqlite3
import sys
from pathlib import Path
from typing import Any, Awaitable, Callable, Mapping, Optional

import attr
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

import regsys
from regsys.errors import (
    InvalidParam,
    LoginFailed,
    RegistrationError,
    StageFailed,
    UnknownToken,
    UsernameTaken,
    UserNotFound,
)
from regsys.interfaces import IAccountStore, IAuth, IDevices, IStage, StageContext
from regsys.model import Login, NewAccount, NewDevice, Requester, Secret, UIASession, UserID
from regsys.model.accounts import Outcome

# --- The homeserver's own tables ---------------------------------------------------------

SCHEMA = """
CREATE TABLE IF NOT EXISTS accounts (
    name TEXT PRIMARY KEY,  -- lower-cased: this key decides who gets a name
    user_id TEXT NOT NULL UNIQUE,
    password_hash TEXT,
    display_name TEXT,
    is_guest BOOLEAN NOT NULL,
    deactivated BOOLEAN NOT NULL DEFAULT FALSE
);
CREATE TABLE IF NOT EXISTS registrations (  -- what each of regsys's keys has made
    key TEXT PRIMARY KEY,
    user_id TEXT NOT NULL,
    created_ms BIGINT NOT NULL
);
CREATE TABLE IF NOT EXISTS devices (
    user_id TEXT NOT NULL,
    device_id TEXT NOT NULL,
    display_name TEXT,
    token_hash TEXT NOT NULL UNIQUE,
    PRIMARY KEY (user_id, device_id)
);
CREATE TABLE IF NOT EXISTS numbers (number INTEGER PRIMARY KEY AUTOINCREMENT);
"""


def open_database(path: Path) -> ConnectionPool:
    """The homeserver's own database; one thread, because SQLite has one writer."""
    sqlite3.connect(path).executescript(SCHEMA).connection.close()
    return ConnectionPool("sqlite3", str(path), check_same_thread=False, cp_min=1, cp_max=1)


def hash_of(token: Secret) -> str:
    return hashlib.sha256(token.reveal().encode("utf-8")).hexdigest()


# --- What regsys asks of a homeserver ----------------------------------------------------


@implementer(IAccountStore, IDevices, IAuth)
@attr.frozen
class Store:
    """Accounts, devices and tokens. Three objects would do as well."""

    pool: Any

    async def is_taken(self, localpart: str) -> bool:
        query = "SELECT 1 FROM accounts WHERE name = ?"
        return bool(await self.pool.runQuery(query, (localpart.lower(),)))

    def next_number(self) -> Deferred[int]:
        return self.pool.runInteraction(_next_number)

    def create_account(self, new: NewAccount) -> Deferred[Outcome]:
        return self.pool.runInteraction(_create_account, new)

    def outcome(self, key: str) -> Deferred[Optional[Outcome]]:
        return self.pool.runInteraction(_outcome, key)

    async def register(self, user_id: UserID, device: NewDevice) -> Login:
        await self.pool.runInteraction(_put_device, str(user_id), device)
        return device.login

    async def whose(self, token: Secret) -> Optional[Requester]:
        rows = await self.pool.runQuery(
            "SELECT user_id, device_id, is_guest FROM devices JOIN accounts USING (user_id)"
            " WHERE token_hash = ?",
            (hash_of(token),),
        )
        for user_id, device_id, is_guest in rows:
            return Requester(
                user_id=UserID.parse(user_id), device_id=device_id, is_guest=bool(is_guest)
            )
        return None

    async def deactivate(self, user_id: UserID) -> None:
        """Not regsys's question but our own; the account stays, and so does its name."""
        await self.pool.runInteraction(_deactivate, str(user_id))

    async def password_of(self, localpart: str) -> tuple[Optional[UserID], Optional[str]]:
        """Our own too: who logs in by this name, and with which hash."""
        query = "SELECT user_id, password_hash FROM accounts WHERE name = ? AND NOT deactivated"
        rows = await self.pool.runQuery(query, (localpart.lower(),))
        return (UserID.parse(rows[0][0]), rows[0][1]) if rows else (None, None)


def _create_account(txn: Any, new: NewAccount) -> Outcome:
    """One transaction: what raises here leaves nothing behind."""
    user_id, name = str(new.user_id), new.user_id.name_key
    # The key first: of several calls with one key, all but one find what that one has made.
    txn.execute(
        "INSERT INTO registrations VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (new.key, user_id, new.created_ms),
    )
    if not txn.rowcount:
        made = _outcome(txn, new.key)
        assert made is not None
        return made
    if new.upgrades_guest:
        txn.execute(
            "UPDATE accounts SET is_guest = FALSE, password_hash = ?"
            " WHERE user_id = ? AND is_guest AND NOT deactivated",
            (new.password_hash, user_id),
        )
        if not txn.rowcount:
            raise UnknownToken()
        txn.execute("DELETE FROM devices WHERE user_id = ?", (user_id,))
    else:
        txn.execute(
            "INSERT INTO accounts VALUES (?, ?, ?, ?, ?, FALSE) ON CONFLICT DO NOTHING",
            (name, user_id, new.password_hash, new.display_name, new.is_guest),
        )
        if not txn.rowcount:
            raise UsernameTaken()
    return Outcome(key=new.key, user_id=new.user_id, created_ms=new.created_ms)


def _outcome(txn: Any, key: str) -> Optional[Outcome]:
    txn.execute("SELECT user_id, created_ms FROM registrations WHERE key = ?", (key,))
    row = txn.fetchone()
    if row is None:
        return None
    return Outcome(key=key, user_id=UserID.parse(row[0]), created_ms=row[1], replayed=True)


def _next_number(txn: Any) -> int:
    txn.execute("INSERT INTO numbers DEFAULT VALUES")
    return int(txn.lastrowid)


def _put_device(txn: Any, user_id: str, device: NewDevice) -> None:
    txn.execute("SELECT is_guest FROM accounts WHERE user_id = ? AND NOT deactivated", (user_id,))
    found = txn.fetchone()
    if found is None:
        raise UserNotFound()
    if bool(found[0]) != device.login.terms.is_guest:
        raise InvalidParam()
    # A device has one token here. A known one keeps its name and gets the new token.
    txn.execute(
        "INSERT INTO devices VALUES (?, ?, ?, ?)"
        " ON CONFLICT (user_id, device_id) DO UPDATE SET token_hash = excluded.token_hash",
        (user_id, device.login.device_id, device.display_name, hash_of(device.login.access_token)),
    )


def _deactivate(txn: Any, user_id: str) -> None:
    txn.execute("UPDATE accounts SET deactivated = TRUE WHERE user_id = ?", (user_id,))
    txn.execute("DELETE FROM devices WHERE user_id = ?", (user_id,))


# --- A stage of its own: optional --------------------------------------------------------


@implementer(IStage)
@attr.frozen
class DoorCode:
    """Whoever can read what hangs beside our front door may have an account."""

    code: Secret
    type = "org.example.door_code"
    page = None

    def params(self, session: UIASession) -> Mapping[str, Any]:
        return {"hint": "It hangs beside our front door."}

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> bool:
        given = auth.get("code")
        if given is None:
            raise StageFailed("M_MISSING_PARAM", "'code' is missing.")
        if not isinstance(given, str):
            raise StageFailed("M_INVALID_PARAM", "'code' must be a string.")
        if not hmac.compare_digest(given.encode(), self.code.reveal().encode()):
            raise StageFailed("M_UNAUTHORIZED", "That is not the code beside our front door.")
        return True


# --- The homeserver's own endpoints ------------------------------------------------------


@attr.frozen
class Homeserver:
    store: Store
    handler: regsys.RegistrationHandler

    async def log_in(self, request: Request) -> Mapping[str, Any]:
        body = json.loads(request.content.read())
        user_id, stored = await self.store.password_of(body["identifier"]["user"])
        fits = await self.handler.hasher.verify(Secret(body["password"]), stored)
        if user_id is None or not fits:
            raise LoginFailed()
        login = await self.handler.register_device(user_id, body.get("device_id"))
        return {
            "user_id": str(user_id),
            "device_id": login.device_id,
            "access_token": login.access_token.reveal(),
        }

    async def sync(self, request: Request) -> Mapping[str, Any]:
        token = (request.getHeader("Authorization") or "").removeprefix("Bearer ")
        requester = await self.store.whose(Secret(token))
        if requester is None:
            raise UnknownToken()
        return {"next_batch": "s1", "presence": {"events": [{"sender": str(requester.user_id)}]}}

    def root(self) -> Resource:
        """The homeserver's site as it was before regsys came: a tree of resources."""
        root = here = Resource()
        for name in (b"_matrix", b"client", b"v3"):
            here.putChild(name, Resource())
            here = here.children[name]
        here.putChild(b"login", Page(self.log_in))
        here.putChild(b"sync", Page(self.sync))
        return root


class Page(Resource):
    """One JSON endpoint."""

    isLeaf = True

    def __init__(self, answer: Callable[[Request], Awaitable[Mapping[str, Any]]]) -> None:
        super().__init__()
        self.answer = answer

    def render(self, request: Request) -> int:
        Deferred.fromCoroutine(self._serve(request)).addErrback(request.processingFailed)
        return NOT_DONE_YET

    async def _serve(self, request: Request) -> None:
        try:
            body = await self.answer(request)
        except RegistrationError as refused:
            request.setResponseCode(refused.status)
            body = {"errcode": refused.errcode, "error": refused.text}
        request.setHeader(b"Content-Type", b"application/json")
        request.write(json.dumps(body).encode())
        request.finish()


# --- All of it together ------------------------------------------------------------------

OPTIONS = {
    "server_name": "example.org",
    "enable_registration": True,
    # The door code keeps strangers out, but a configuration cannot know that.
    "enable_registration_without_verification": True,
    "allow_guest_access": True,
    # Our devices have one token each, which does not expire.
    "refreshable_access_token_lifetime": None,
}


def build(
    config: regsys.Config, reactor: Any, pool: Any, **testing: Any
) -> tuple[regsys.Subsystem, IResource]:
    """The registration, and the root of everything. Tests pass further arguments."""
    store = Store(pool)
    stage = DoorCode(Secret("sesame"))
    hooks = regsys.hooks(reactor, stages=[stage], flows=[(stage.type,)])
    registration = regsys.embedded(
        config, reactor, store=store, devices=store, auth=store, hooks=hooks, **testing
    )
    own = Homeserver(store, registration.handler).root()
    return registration, registration.resource(otherwise=own)


def main(directory: str, port: str) -> None:
    from twisted.internet import reactor

    own_tables = {"name": "sqlite3", "args": {"database": f"{directory}/registration.db"}}
    config = regsys.parse({**OPTIONS, "regsys": {"database": own_tables}})
    pool = open_database(Path(directory, "homeserver.db"))
    registration, root = build(config, reactor, pool)
    reactor.listenTCP(int(port), Site(root, parsePOSTFormSubmission=False), interface="127.0.0.1")
    reactor.callWhenRunning(registration.start)
    reactor.callWhenRunning(print, f"listening on http://127.0.0.1:{port}", flush=True)
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromCoroutine(registration.stop())
    )
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
