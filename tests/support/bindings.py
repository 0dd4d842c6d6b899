"""Helpers for tests of identity servers that bind and unbind addresses."""

from __future__ import annotations

from typing import Any, Optional

from treq.testing import StubTreq
from twisted.internet.defer import Deferred
from zope.interface import implementer

from regsys.callbacks import BindingChanges
from regsys.interfaces import IRequestSigner
from regsys.threepids.identity_server_unbinding import RETRY_MS
from tests.doubles.identity_v2 import TOKEN, IdentityV2Double
from tests.support.accounts import THREEPIDS, AccountCase
from tests.support.client import Answer
from tests.support.due_jobs import run_due
from tests.support.log_canaries import watch_for_leaks
from tests.support.validations import ALICE

ALICE_ID = "@alice:test.example"
SERVER = "id.example"
SECRET = "client-secret-canary"
OTHER = "other@mail.example"
SUCCESS, NO_SUPPORT = "success", "no-support"


@implementer(IRequestSigner)
class Signer:
    """A homeserver's signer, as far as it is used."""

    def __init__(self, trouble: Optional[Exception] = None) -> None:
        self.trouble = trouble
        self.asked: list[Any] = []

    async def authorization(self, method: str, uri: str, destination: str, content: Any) -> str:
        self.asked.append((method, uri, destination, content))
        if self.trouble is not None:
            raise self.trouble
        return 'X-Matrix origin="test.example"'


class BindingCase(AccountCase):
    """``double`` is an identity server; ``module_calls`` has the calls of the modules'
    callbacks."""

    def setUp(self) -> None:
        self.module_calls: list[Any] = []
        super().setUp()
        self.double = IdentityV2Double(self.clock)
        self.treq = StubTreq(self.double)
        self.restart()
        watch_for_leaks(self, {"a secret": "canary"})

    def restart(self, signer: Optional[Signer] = None, **options: Any) -> None:
        """The same server with these options, without any hook."""
        self.changes = BindingChanges.on(self.clock)
        self.threepid_changes = self.hooks().threepid_changes
        hooks = self.hooks(
            mails=self.mails,
            binding_changes=self.changes,
            threepid_changes=self.threepid_changes,
        )
        self.system(database=self.database, hooks=hooks, signer=signer, treq=self.treq, **options)

    def register_callbacks(self, answer: Any = None) -> None:
        """Register callbacks for checks and updates; the check returns ``answer``."""

        def check(*args: Any) -> Any:
            self.module_calls.append(("check", *args))
            return answer

        self.changes.checks.register("m", check)
        self.changes.updates.register(
            "m", lambda *args: self.module_calls.append(("update", *args))
        )

    def object_to_unbinding(self, server: str) -> None:
        """Register a check that refuses to unbind from this server."""

        def check(id_server: str, *_: Any) -> Any:
            return ("M_FORBIDDEN", "Stay.") if id_server == server else None

        self.changes.checks.register("m", check)

    def bind(
        self,
        sid: Any = f"ok..{ALICE}",
        token: Any = TOKEN,
        access_token: Optional[str] = None,
        **more: Any,
    ) -> Answer:
        """``access_token``: the access token; None for Alice's."""
        body = {"sid": sid, "client_secret": SECRET, "id_access_token": token, **more}
        body.setdefault("id_server", SERVER)
        return self.client.post(f"{THREEPIDS}/bind", body, token=access_token or self.alice)

    def bind_address(self, sid: str = f"ok..{ALICE}", **more: Any) -> None:
        answer = self.bind(sid, **more)
        self.assertEqual((answer.status, answer.json), (200, {}), answer)

    def start_unbind(self, **more: Any) -> Deferred[Answer]:
        body = {"medium": "email", "address": ALICE, **more}
        return self.client.start("POST", f"{THREEPIDS}/unbind", body, token=self.alice)

    def unbind(self, **more: Any) -> Answer:
        return self.client.answer(self.start_unbind(**more))

    def assertUnbound(self, answer: Answer, result: str, case: Any = None) -> None:
        expected = {"id_server_unbind_result": result}
        self.assertEqual((answer.status, answer.json), (200, expected), case)

    @property
    def stored_bindings(self) -> list[Any]:
        return [tuple(row) for row in self.rows("SELECT address, id_server FROM bindings")]

    @property
    def identity_server_steps(self) -> list[str]:
        """The requests to the identity server since the last look."""
        steps = [step for step, _, _ in self.double.asked]
        self.double.asked.clear()
        return steps

    def run_jobs(self, later_ms: int = RETRY_MS) -> None:
        """Run all jobs that are due by then."""
        self.clock.advance(later_ms / 1000)
        self.wait(run_due(self.subsystem.jobs))
