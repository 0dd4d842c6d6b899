"""People who have identity servers told of their addresses: what the tests of it share."""

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
from tests.support.log_canaries import watch
from tests.support.validations import ALICE

HER = "@alice:test.example"
SERVER = "id.example"
SECRET = "client-secret-canary"
OTHER = "other@mail.example"
SUCCESS, NO_SUPPORT = "success", "no-support"


@implementer(IRequestSigner)
class Signer:
    """A homeserver's, as far as it is asked."""

    def __init__(self, trouble: Optional[Exception] = None) -> None:
        self.trouble = trouble
        self.asked: list[Any] = []

    async def authorization(self, method: str, uri: str, destination: str, content: Any) -> str:
        self.asked.append((method, uri, destination, content))
        if self.trouble is not None:
            raise self.trouble
        return 'X-Matrix origin="test.example"'


class BindingCase(AccountCase):
    """Beside ``double``, an identity server; ``heard`` is what modules have heard."""

    def setUp(self) -> None:
        self.heard: list[Any] = []
        super().setUp()
        self.double = IdentityV2Double(self.clock)
        self.treq = StubTreq(self.double)
        self.over_again()
        watch(self, {"a secret": "canary"})

    def over_again(self, signer: Optional[Signer] = None, **options: Any) -> None:
        """The same server with these options, without any hook."""
        self.changes = BindingChanges.on(self.clock)
        self.threepid_changes = self.hooks().threepid_changes
        hooks = self.hooks(
            mails=self.mails,
            binding_changes=self.changes,
            threepid_changes=self.threepid_changes,
            signer=signer,
        )
        self.system(database=self.database, hooks=hooks, treq=self.treq, **options)

    def listen(self, answer: Any = None) -> None:
        """Hang a module on both moments; its check answers so."""

        def check(*args: Any) -> Any:
            self.heard.append(("check", *args))
            return answer

        self.changes.checks.register("m", check)
        self.changes.updates.register("m", lambda *args: self.heard.append(("update", *args)))

    def keep(self, server: str) -> None:
        """Hang a module on what is unbound that wants this server's to stay."""

        def check(id_server: str, *_: Any) -> Any:
            return ("M_FORBIDDEN", "Stay.") if id_server == server else None

        self.changes.checks.register("m", check)

    def bind(
        self,
        sid: Any = f"ok..{ALICE}",
        token: Any = TOKEN,
        who: Optional[str] = None,
        **more: Any,
    ) -> Answer:
        """``who``: whose access token it is; None: Alice's."""
        body = {"sid": sid, "client_secret": SECRET, "id_access_token": token, **more}
        body.setdefault("id_server", SERVER)
        return self.client.post(f"{THREEPIDS}/bind", body, token=who or self.alice)

    def bound(self, sid: str = f"ok..{ALICE}", **more: Any) -> None:
        answer = self.bind(sid, **more)
        self.assertEqual((answer.status, answer.json), (200, {}), answer)

    def start_unbind(self, **more: Any) -> Deferred[Answer]:
        body = {"medium": "email", "address": ALICE, **more}
        return self.client.start("POST", f"{THREEPIDS}/unbind", body, token=self.alice)

    def unbind(self, **more: Any) -> Answer:
        return self.client.answer(self.start_unbind(**more))

    def assertUnbound(self, answer: Answer, result: str, case: Any = None) -> None:
        told = {"id_server_unbind_result": result}
        self.assertEqual((answer.status, answer.json), (200, told), case)

    @property
    def remembered(self) -> list[Any]:
        return [tuple(row) for row in self.rows("SELECT address, id_server FROM bindings")]

    @property
    def steps(self) -> list[str]:
        """What the identity server has been asked since this was last looked at."""
        steps = [step for step, _, _ in self.double.asked]
        self.double.asked.clear()
        return steps

    def run_jobs(self, later_ms: int = RETRY_MS) -> None:
        """All that is due by then."""
        self.clock.advance(later_ms / 1000)
        self.wait(self.subsystem.jobs.run_due())
