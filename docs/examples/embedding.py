"""A homeserver, much too small, that lets regsys make its accounts.

docs/embedding.md walks through it. Its tables are in store.py. Run it with

    python docs/examples/embedding.py DIRECTORY PORT
"""

from __future__ import annotations

import hmac
import json
import sys
from pathlib import Path
from typing import Any, Awaitable, Callable, Literal, Mapping, Optional

import attr
from confirming import challenge, deactivation, paths, requester_of
from store import Store, open_database
from twisted.internet.defer import Deferred
from twisted.logger import globalLogBeginner, textFileLogObserver
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request, Site
from zope.interface import implementer

import regsys
from regsys.errors import (
    BadJSON,
    MissingParam,
    RegistrationError,
    StageFailed,
    UnknownToken,
)
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IStage, StageContext
from regsys.model import Secret, UIASession, UserID

PASSWORD = "m.login.password"  # noqa: S105

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

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Literal[True]:
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
    """What clients ask of this homeserver itself. ``clock`` is the reactor."""

    store: Store
    registration: regsys.Subsystem
    clock: Any

    def endpoints(self) -> list[Endpoint]:
        """Those that are mounted beside regsys's, and share its way with bad requests."""
        return [
            Endpoint("login", paths("login"), {"GET": self.login_types, "POST": self.log_in}),
            Endpoint("logout", paths("logout"), {"POST": self.log_out}),
            Endpoint("devices", paths("devices"), {"GET": self.devices}),
            Endpoint("password", paths("account/password"), {"POST": self.change_password}),
            deactivation(self.registration, self.deactivate),
        ]

    async def login_types(self, call: Call) -> Reply:
        return Reply({"flows": [{"type": PASSWORD}]})

    async def log_in(self, call: Call) -> Reply:
        body = call.object()
        if required(body, "type") != PASSWORD:
            raise RegistrationError("This way of logging in is not on offer here.")
        password = Secret(required(body, "password"))
        passwords = self.registration.passwords
        assert passwords is not None  # there is ``users``
        user = await passwords.check(body.get("identifier"), password, call.client)
        await self.registration.blocking.check_login(user)
        login = await self.registration.handler.register_device(
            user.user_id,
            string(body, "device_id"),
            string(body, "initial_device_display_name"),
        )
        answer: dict[str, Any] = {
            "user_id": str(user.user_id),
            "device_id": login.device_id,
            "access_token": login.access_token.reveal(),
        }
        if login.terms.valid_until_ms is not None:
            left_ms = login.terms.valid_until_ms - int(self.clock.seconds() * 1000)
            answer["expires_in_ms"] = max(0, left_ms)
        return Reply(answer)

    async def log_out(self, call: Call) -> Reply:
        requester = await requester_of(self.registration, call)
        assert requester.device_id is not None  # each of our tokens has a device
        # First: a registration that is repeated meanwhile must not bring the device back.
        await self.registration.handler.logged_out(requester.user_id, requester.device_id)
        await self.store.log_out(requester.user_id, requester.device_id)
        return Reply()

    async def devices(self, call: Call) -> Reply:
        requester = await requester_of(self.registration, call)
        names = await self.store.devices_of(requester.user_id)
        found = [{"device_id": key, "display_name": name} for key, name in names.items()]
        return Reply({"devices": found})

    async def change_password(self, call: Call) -> Reply:
        requester = await requester_of(self.registration, call)
        unconfirmed = await challenge(self.registration, requester, call)
        if unconfirmed is not None:
            return unconfirmed
        body, user_id = call.object(), requester.user_id
        password = Secret(required(body, "new_password"))
        passwords = self.registration.passwords
        assert passwords is not None  # there is ``users``
        passwords.check_policy(password)
        stored = await self.registration.handler.hasher.hash(password)
        logout_devices = body.get("logout_devices", True) is not False
        if logout_devices:
            await self.registration.handler.logged_out(user_id)
        assert requester.device_id is not None
        await self.store.change_password(user_id, stored, logout_devices, requester.device_id)
        return Reply()

    async def deactivate(self, user_id: UserID) -> None:
        await self.store.deactivate(user_id)
        await self.registration.handler.deactivated(user_id)


def string(body: Mapping[str, Any], key: str) -> Optional[str]:
    """A string of a client's body, which may hold anything; None if it is left out."""
    value = body.get(key)
    if value is not None and not isinstance(value, str):
        raise BadJSON(f"'{key}' must be a string.")
    return value


def required(body: Mapping[str, Any], key: str) -> str:
    value = string(body, key)
    if value is None:
        raise MissingParam(f"'{key}' is missing.")
    return value


# --- What was there before regsys came: resources of twisted.web -------------------------


@attr.frozen
class Sync:
    store: Store

    async def sync(self, request: Request) -> Mapping[str, Any]:
        token = (request.getHeader("Authorization") or "").removeprefix("Bearer ")
        requester = await self.store.whose(Secret(token))
        if requester is None:
            raise UnknownToken()
        display_name, extra = await self.store.profile_of(requester.user_id)
        sender = {"sender": str(requester.user_id), "content": {"displayname": display_name}}
        return {
            "next_batch": "s1",
            "presence": {"events": [{"type": "m.presence", **sender}]},
            "account_data": {"events": [{"type": "org.example.extra", "content": extra}]},
        }

    def root(self) -> Resource:
        root = here = Resource()
        for name in (b"_matrix", b"client", b"v3"):
            here.putChild(name, Resource())
            here = here.children[name]
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
            body = refused.body
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
    # Our devices have one token each, and no refresh token.
    "refreshable_access_token_lifetime": None,
}


def build(
    config: regsys.Config, reactor: Any, pool: Any, **testing: Any
) -> tuple[regsys.Subsystem, IResource]:
    """The registration, and the root of everything. Tests pass further arguments."""
    store = Store(pool, reactor)
    stage = DoorCode(Secret("sesame"))
    hooks = regsys.hooks(reactor, stages=[stage], flows=[(stage.type,)])
    registration = regsys.embedded(
        config,
        reactor,
        store=store,
        devices=store,
        auth=store,
        users=store,
        threepids=store,
        hooks=hooks,
        **testing,
    )
    own = Homeserver(store, registration, reactor).endpoints()
    registration = registration.having(*own)
    return registration, registration.resource(otherwise=Sync(store).root())


def main(directory: str, port: str) -> None:
    from twisted.internet import reactor

    own_tables = {"name": "sqlite3", "args": {"database": f"{directory}/registration.db"}}
    config = regsys.parse({**OPTIONS, "regsys": {"database": own_tables}})
    pool = open_database(Path(directory, "homeserver.db"))
    registration, root = build(config, reactor, pool)
    site: Any = Site(root, parsePOSTFormSubmission=False)  # Any: Twisted's types do not fit it
    globalLogBeginner.beginLoggingTo([textFileLogObserver(sys.stdout)])
    reactor.listenTCP(int(port), site, interface="127.0.0.1")
    reactor.callWhenRunning(registration.start)
    reactor.callWhenRunning(print, f"listening on http://127.0.0.1:{port}", flush=True)
    reactor.addSystemEventTrigger(
        "before", "shutdown", lambda: Deferred.fromCoroutine(registration.stop())
    )
    reactor.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
