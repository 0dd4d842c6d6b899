"""A master in this process, and the ways in which the connection to it may fail."""

from __future__ import annotations

from collections import Counter
from typing import Any, Mapping, Optional, Sequence
from unittest import TestCase

import attr
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.task import Clock
from twisted.web.resource import IResource

from regsys import http
from regsys.accounts.writer import LocalWriter
from regsys.config import MasterConfig, WorkerConfig
from regsys.credentials.access_tokens import Logins
from regsys.errors import NoMaster
from regsys.model import Created, NewAccount, Secret
from regsys.outbound.http import HTTPClient
from regsys.outbound.master import Master
from regsys.replication.resource import MasterCalls
from regsys.replication.sender import Ask
from regsys.storage.replication_calls import ReplicationCallStore
from regsys.testing.contracts.case import NOW_MS, SERVER
from tests.replication.fixtures import SECRET
from tests.support.sockets import Sockets

URL = "http://master.example:9093"


class HastyClock(Clock):
    """Every wait ends in the reactor's next turn, and the time is what it would be by then."""

    def callLater(self, delay: float, what: Any, *args: Any, **kw: Any) -> Any:
        def ended() -> None:
            self.rightNow += delay
            what(*args, **kw)

        return reactor.callLater(0, ended)  # type: ignore[attr-defined]


@attr.define(eq=False)
class InProcessMaster:
    """``ask`` sends to its real resource. ``counted``: for whom it was asked to count.
    ``looked_for``: the kinds of jobs that it was told of."""

    writer: LocalWriter
    logins: Logins
    db: Any
    counted: list[Optional[str]] = attr.field(factory=list)
    looked_for: list[Any] = attr.field(factory=list)
    ask: Ask = attr.field(init=False)

    def __attrs_post_init__(self) -> None:
        client = HTTPClient(StubTreq(self.resource()), Clock())  # type: ignore[arg-type]
        self.ask = Master(http=client, url=URL, secret=Secret(SECRET)).ask

    def resource(self) -> Any:
        clock = Clock()
        clock.advance(NOW_MS / 1000)
        calls = MasterCalls(
            secret=Secret(SECRET),
            server_name=SERVER,
            writer=self.writer,
            count_and_register=self.count_and_register,
            terms=lambda request, is_guest: self.logins.terms(request, is_guest=is_guest),
            issue=self.logins.issue,
            approved=True,
            look_for_jobs=self.looked_for.append,
            calls=ReplicationCallStore(self.db),
            clock=clock,
        )
        return http.resource([calls.endpoint()])

    async def count_and_register(self, new: NewAccount, address: Optional[str]) -> Created:
        self.counted.append(address)
        return await self.writer.create_account(new)


@attr.define(eq=False)
class Cuts:
    """``cuts``: what happens to the first tries of each call, one after the other: the ``request``
    or the ``answer`` is lost, or a ``gateway`` or a ``stranger`` answers instead."""

    ask: Ask
    cuts: Sequence[str] = ()
    tries: Counter[str] = attr.field(factory=Counter)

    async def __call__(self, path: str, body: Mapping[str, Any], seconds: float) -> tuple[int, Any]:
        number = self.tries[path]
        self.tries[path] += 1
        cut = self.cuts[number] if number < len(self.cuts) else ""
        if cut == "request":
            raise NoMaster("connection refused")
        answer = await self.ask(path, body, seconds)
        if cut == "answer":
            raise NoMaster("connection lost")
        if cut == "gateway":
            return 504, {"errcode": "M_UNKNOWN", "error": "Gateway timeout"}
        if cut == "stranger":
            return 200, None
        return answer


def over_sockets(case: TestCase, resource: IResource) -> tuple[Ask, Any]:
    """Asks a master with this resource over loopback, until the test ends, and its site. The answer
    is there once it is awaited."""
    sockets = Sockets.of_all_tests()
    site = http.site(resource, clock=sockets.reactor)
    port = sockets.listen(site)
    case.addCleanup(sockets.turn_until_closed, port.stopListening)
    main = MasterConfig(host="127.0.0.1", port=port.getHost().port)
    worker = WorkerConfig(name="worker1", master=main, secret=Secret(SECRET))
    master = Master.on(sockets.reactor, worker)
    case.addCleanup(sockets.turn_until_closed, master.close)
    return sockets.waiting(master.ask), site
