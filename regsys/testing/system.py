"""A whole subsystem in memory: real SQL and resources, without threads, sockets and waiting."""

from __future__ import annotations

import difflib
import inspect
import secrets
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence

from treq import client
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from regsys import wiring
from regsys.config import Config, parse
from regsys.interfaces import IAccountStore, IAuth, IDevices
from regsys.model import Secret
from regsys.outbound.http import HTTPClient
from regsys.outbound.master import Master
from regsys.storage.database import Database
from regsys.testing.database import empty_database, memory_database
from regsys.wiring.process import Process, hashing_pool
from regsys.wiring.subsystem import Hooks, Subsystem

SERVER_NAME = "test.example"

# Open registration, cheap hashes, and limits that no test reaches by accident.
OPTIONS: dict[str, Any] = {
    "server_name": SERVER_NAME,
    "macaroon_secret_key": "a secret of tests alone",
    "enable_registration": True,
    "enable_registration_without_verification": True,
    "allow_guest_access": True,
    "bcrypt_rounds": 4,
    "rc_registration": {"per_second": 1000, "burst_count": 1000},
    "rc_login": {
        "address": {"per_second": 1000, "burst_count": 1000},
        "account": {"per_second": 1000, "burst_count": 1000},
        "failed_attempts": {"per_second": 1000, "burst_count": 1000},
    },
    "regsys": {"rc_availability": False},
}


# What the value of an option can be.
OPTION_TYPES = (str, int, float, list, tuple, dict, type(None))


def config(**options: Any) -> Config:
    """OPTIONS with these in their place; the whole section ``regsys`` is one option."""
    return parse({**OPTIONS, **options})


def memory_process(
    testcase: Any,
    chosen: Config,
    clock: Clock,
    database: Optional[Database] = None,
    run: Callable[..., Deferred[Any]] = maybeDeferred,
    treq: Optional[client.HTTPClient] = None,
) -> Process:
    """A process that works on the calling thread, over ``database``, or one in memory.

    ``run`` calls a hashing function; replace it to hash when the test wants to. ``treq`` makes
    requests to other servers (such as treq.testing.StubTreq); if None, none can be
    reached. If ``chosen`` has no macaroon_secret_key, one is drawn.
    """
    secret = chosen.tokens.macaroon_secret_key or Secret(secrets.token_hex(32))
    http = HTTPClient(treq or client.HTTPClient(_Alone()), clock)
    master = None if chosen.worker is None else Master.over(http, chosen.worker)
    hasher = hashing_pool(chosen, run, threads=1, seconds=clock.seconds)
    return Process(
        database=database or memory_database(testcase, clock),
        hasher=hasher,
        refuse_hashes=hasher.refuse,
        http=http,
        guarded_http=http.apart(),
        master=master,
        macaroon_secret=secret.reveal().encode(),
        seconds=clock.seconds,
        modules_database=empty_database(testcase, clock) if chosen.modules.modules else None,
    )


@implementer(IAgent)
class _Alone:
    """A machine without a network."""

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Optional[Headers] = None,
        bodyProducer: Optional[IBodyProducer] = None,
    ) -> Deferred[IResponse]:
        return fail(ConnectionRefusedError())


def standalone(
    testcase: Any,
    clock: Optional[Clock] = None,
    *,
    database: Optional[Database] = None,
    hooks: Optional[Hooks] = None,
    **parts_and_options: Any,
) -> Subsystem:
    """A standalone subsystem in memory.

    ``parts_and_options``: further arguments of ``regsys.standalone``, and options, which take the
    place of those in OPTIONS. If ``clock`` is None, time stands still.
    """
    return _built(wiring.standalone, testcase, clock, database, hooks, parts_and_options)


def embedded(
    testcase: Any,
    *,
    store: IAccountStore,
    devices: IDevices,
    auth: IAuth,
    clock: Optional[Clock] = None,
    database: Optional[Database] = None,
    hooks: Optional[Hooks] = None,
    **parts_and_options: Any,
) -> Subsystem:
    """A subsystem in memory over these parts of a homeserver. The arguments are those of
    ``regsys.embedded``, otherwise as for ``standalone``."""
    given = {"store": store, "devices": devices, "auth": auth, **parts_and_options}
    return _built(wiring.embedded, testcase, clock, database, hooks, given)


def _meant(name: str, names: Iterable[str], warnings: Sequence[str]) -> str:
    """A guess at the argument, or the option, whose name is misspelt; empty if there is none."""
    near = difflib.get_close_matches(name, list(names), 1, 0.8)
    if near:
        return f": did you mean {near[0]!r}?"
    begin = f"{name} is not an option"
    slips = [item for item in warnings if item.startswith(begin)]
    return slips[0].removeprefix(begin) if slips else ""


def _built(
    build: Callable[..., Subsystem],
    testcase: Any,
    clock: Optional[Clock],
    database: Optional[Database],
    hooks: Optional[Hooks],
    given: Mapping[str, Any],
) -> Subsystem:
    """What ``build`` makes of the parts and options that are ``given``; TypeError for what is
    neither."""
    names = inspect.signature(build).parameters
    parts = {name: value for name, value in given.items() if name in names}
    options = {name: value for name, value in given.items() if name not in names}
    others = [name for name, value in options.items() if not isinstance(value, OPTION_TYPES)]
    chosen = config(**{name: value for name, value in options.items() if name not in others})
    for name in (*others, *chosen.unused):
        if name in options:
            raise TypeError(
                f"{name!r} is neither an argument of {build.__name__}() nor an option"
                f"{_meant(name, names, chosen.warnings)}"
            )
    clock = clock or Clock()
    process = memory_process(testcase, chosen, clock, database)
    return build(chosen, clock, process=process, hooks=hooks, **parts)
