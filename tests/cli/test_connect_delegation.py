"""What ``check-config --connect`` finds in the set-up of a Synapse's auth service.
``tests/test_synapse_process.py`` has the same beside a Synapse."""

from __future__ import annotations

import time
from email.utils import formatdate
from typing import Any, Mapping, Optional, Sequence, Union

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from regsys.cli import connect_delegation
from regsys.cli.connect_delegation import SUSPEND
from regsys.cli.peers import NotAsked, Peer, Unreachable
from regsys.outbound.http import HTTPClient, NoAnswer
from regsys.testing import config
from tests.accounts.test_delegation import OPTIONS
from tests.doubles.synapse import SECRET

V3 = "/_matrix/client/v3"
THERE, BACK, PUBLIC = "http://synapse.example", "http://regsys.example", "https://public.example"
DOOR = f"{THERE}/_synapse/mas/is_localpart_available"
ADMIN = f"{THERE}/_synapse/admin/v1/server_version"
WHOAMI, INTROSPECT = f"{THERE}{V3}/account/whoami", f"{BACK}/oauth2/introspect"
# A status alone, or with an errcode.
Given = Union[int, tuple[int, str]]
UNRECOGNIZED = (404, "M_UNRECOGNIZED")
REFUSED = (401, "M_MISSING_TOKEN")
GOOD: Mapping[str, Given] = {
    f"{THERE}/_matrix/client/versions": 200,
    DOOR: 200,
    ADMIN: 200,
    WHOAMI: (401, "M_UNKNOWN_TOKEN"),
    INTROSPECT: 200,
    f"{PUBLIC}/_matrix/client/versions": 200,
    f"{PUBLIC}{V3}/sync": (401, "M_MISSING_TOKEN"),
    f"{PUBLIC}{V3}/login": 200,
    f"{PUBLIC}{V3}/register/available": (400, "M_INVALID_USERNAME"),
    f"{PUBLIC}{V3}/account/password": (405, "M_UNRECOGNIZED"),
    f"{PUBLIC}{V3}/logout": (405, "M_UNRECOGNIZED"),
    f"{PUBLIC}{V3}/refresh": (405, "M_UNRECOGNIZED"),
    f"{PUBLIC}/_matrix/static/client/register/": 200,
    f"{PUBLIC}/_matrix/client/v1/auth_metadata": UNRECOGNIZED,
    f"{PUBLIC}/_matrix/client/unstable/org.matrix.msc2965/auth_metadata": UNRECOGNIZED,
}
OURS = [path for path in GOOD if path.startswith(PUBLIC)][2:]
OPEN_MAS, OPEN_INTROSPECT = (
    f"{PUBLIC}/_synapse/mas/is_localpart_available",
    f"{PUBLIC}/oauth2/introspect",
)
CLOSED: Mapping[str, Given] = {OPEN_MAS: 404, OPEN_INTROSPECT: 404}


class Everybody(Resource):
    """All servers. ``given`` is what each address answers: None hangs up."""

    isLeaf = True

    def __init__(self, given: Mapping[str, Optional[Given]], date: Optional[str]) -> None:
        super().__init__()
        self.given, self.date = given, date

    def render(self, request: Request) -> Any:
        address = f"{request.prePathURL().decode().rstrip('/')}{request.path.decode()}"
        given = self.given[address]
        if address == DOOR and not request.getHeader("Authorization"):
            given = REFUSED
        if given is None:
            request.transport.abortConnection()
            return NOT_DONE_YET
        if self.date is not None:
            request.setHeader(b"Date", self.date.encode())
        status, errcode = given if isinstance(given, tuple) else (given, "")
        request.setResponseCode(status)
        return b'{"errcode": "%s"}' % errcode.encode()


class ConnectTests(SynchronousTestCase):
    def found(
        self,
        changed: Mapping[str, Optional[Given]],
        endpoint: Optional[str] = BACK,
        date: Optional[str] = None,
        regsys: Mapping[str, Any] = {},
    ) -> Mapping[str, str]:
        """What was found at the options where something was; a question mark stands before what
        was not asked."""
        block = {"enabled": True, "secret": SECRET}
        named = {} if endpoint is None else {"endpoint": f"{endpoint}/"}
        options = {**OPTIONS, "matrix_authentication_service": {**block, **named}}
        options["regsys"] = {**options["regsys"], **regsys}
        chosen = config(**{**options, "public_baseurl": f"{PUBLIC}/"})
        assert chosen.delegation is not None
        treq = StubTreq(Everybody({**GOOD, **CLOSED, **changed}, date))
        http = HTTPClient(treq, Clock())
        found: dict[str, str] = {}
        for peer in connect_delegation.peers(chosen, chosen.delegation, http):
            errors: list[Exception] = []
            asking = Deferred.fromCoroutine(self.asked(peer, errors))
            treq.flush()
            warnings = self.successResultOf(asking)
            if warnings:
                found[peer.option] = "; ".join(warnings)
            for error in errors:
                found[peer.option] = f"{'?' if isinstance(error, NotAsked) else ''}{error}"
                self.assertNotIn(SECRET, str(error))
        return found

    async def asked(self, peer: Peer, errors: list[Exception]) -> Optional[Sequence[str]]:
        try:
            return await peer.ask()
        except (Unreachable, NotAsked, NoAnswer) as error:
            errors.append(error)
            return None

    def assertFound(self, option: str, part: str, **asked: Any) -> None:
        found = self.found(**asked)
        self.assertEqual(set(found), {option})
        self.assertIn(part, found[option])

    def test_good(self) -> None:
        """Each of the three is as it should be, also where the name that is asked about is somebody
        else's, or nobody may register."""
        self.assertEqual(self.found({}, date=formatdate(usegmt=True)), {})
        self.assertEqual(self.found({DOOR: (400, "M_EXCLUSIVE")}, date="yesterday"), {})
        available = f"{PUBLIC}{V3}/register/available"
        self.assertEqual(self.found({available: (403, "M_FORBIDDEN")}), {})

    def test_door(self) -> None:
        """What the Synapse lacks, with the remedy."""
        option = "regsys.homeserver.url"
        for given, part in (
            (UNRECOGNIZED, "must have matrix_authentication_service enabled"),
            ((403, "M_UNKNOWN"), "matrix_authentication_service.secret must be the same"),
            (500, "is_localpart_available: 500"),
            (None, "is_localpart_available: the connection failed"),
        ):
            self.assertFound(option, part, changed={DOOR: given})
        self.assertFound(option, "a worker of the homeserver", changed={ADMIN: UNRECOGNIZED})
        late = formatdate(time.time() - 90, usegmt=True)
        self.assertFound(option, "seconds apart: set both by NTP", changed={}, date=late)
        versions = f"{THERE}/_matrix/client/versions"
        self.assertIn("does a homeserver answer there?", self.found({versions: 404})[option])

    def test_suspension(self) -> None:
        """Where newcomers are to be suspended, the Synapse must know how; else nobody asks."""
        option, suspend = "regsys.homeserver.url", f"{THERE}{SUSPEND}@regsys:test.example"
        newcomers: Any = {"newcomers": {"state": "suspended"}}
        for given, expected in ((REFUSED, set()), (UNRECOGNIZED, {option})):
            found = self.found({suspend: given}, regsys=newcomers)
            self.assertEqual(set(found), expected)
        self.assertIn("msc3823_account_suspension: true", found[option])

    def test_back(self) -> None:
        """Whether the Synapse reaches regsys is seen by a token that nobody has; where regsys does
        not run, nothing can be said."""
        option, away = "matrix_authentication_service.endpoint", (503, "M_UNKNOWN")
        self.assertFound(option, "endpoint must be where", changed={WHOAMI: away})
        for given in (None, 401, 404):
            changed = {WHOAMI: away, INTROSPECT: given}
            self.assertFound(option, "?the homeserver cannot ask", changed=changed)
        self.assertFound(option, "?the homeserver", changed={WHOAMI: away}, endpoint=None)

    def test_routes(self) -> None:
        """Whatever another process than its own answers is named, with the status."""
        option = "public_baseurl"
        for address in OURS:
            path = address.removeprefix(PUBLIC)
            wrong = 200 if path.endswith("auth_metadata") else UNRECOGNIZED
            part = f"somebody else than regsys answers {path}"
            self.assertFound(option, part, changed={address: wrong})
        sync = f"{PUBLIC}{V3}/sync"
        for changed in ({sync: UNRECOGNIZED}, {f"{PUBLIC}/_matrix/client/versions": (200, "ours")}):
            self.assertFound(option, "somebody else than the homeserver", changed=changed)
        nobody = dict.fromkeys(OURS, 502)
        self.assertFound(option, "?regsys does not answer behind it", changed=nobody)
        both = self.found({**nobody, sync: 502})[option]
        self.assertTrue(both.startswith("somebody else than regsys"), both)
        self.assertFound(option, "the connection failed", changed={sync: None})

    def test_openDoors(self) -> None:
        """What only the two processes need is warned of where clients reach it, whoever answers
        with what else."""
        option = "public_baseurl"
        self.assertFound(option, "/_synapse/mas can be reached", changed={OPEN_MAS: REFUSED})
        self.assertFound(option, "/oauth2/introspect can", changed={OPEN_INTROSPECT: REFUSED})
        both = {OPEN_MAS: REFUSED, OPEN_INTROSPECT: REFUSED}
        self.assertFound(option, "mas can be reached", changed=both)
        self.assertFound(option, "introspect can be reached", changed=both)
        closed = {OPEN_MAS: (403, "M_FORBIDDEN"), OPEN_INTROSPECT: UNRECOGNIZED}
        self.assertEqual(self.found(closed), {})
