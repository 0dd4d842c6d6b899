"""How many statements a request costs, counted in PostgreSQL's own log (PERFORMANCE.md)."""

from __future__ import annotations

import re
from contextlib import nullcontext
from typing import Any, Callable, Optional, Sequence

import attr
from zope.interface import implementer

from regsys.accounts.monthly_active_users import COUNT_KEPT_S
from regsys.interfaces import IUserDirectory
from regsys.model import UserID
from regsys.storage.validations import ValidationStore
from regsys.testing import MemoryMails, MemoryRoom, MemoryRooms
from tests.appservices.bridges import BridgeCase
from tests.support import postgres
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3
from tests.support.databases import postgres_database

PLENTY = {"per_second": 1000, "burst_count": 1000}

# Between BEGIN and COMMIT, at most.
MOST = 10


@attr.frozen
class Cost:
    """``transactions``: the statements within each BEGIN … COMMIT; ``alone``: all others."""

    transactions: Sequence[Sequence[str]]
    alone: Sequence[str]

    @classmethod
    def of(cls, statements: Sequence[str]) -> Cost:
        transactions: list[list[str]] = []
        alone: list[str] = []
        place: Optional[list[str]] = None
        for text in statements:
            if text.startswith("BEGIN"):
                place = []
                transactions.append(place)
            elif text == "COMMIT":
                place = None
            else:
                (alone if place is None else place).append(text)
        return cls(transactions, alone)

    def __str__(self) -> str:
        inside = [f"  {text[:90]}" for texts in self.transactions for text in ("BEGIN", *texts)]
        counts = [len(texts) for texts in self.transactions]
        return "\n".join(
            [f"in transactions: {counts}, alone: {len(self.alone)}", *inside, *self.alone]
        )


@implementer(IUserDirectory)
class Directory:
    async def profile_created(
        self, user_id: UserID, display_name: Optional[str], hidden: bool
    ) -> None:
        return


class StatementTests(BridgeCase):
    def setUp(self) -> None:
        super().setUp()
        self.args = postgres.dsn(self, log_statements=True)
        database = postgres_database(self, self.clock, self.args)
        self.system(database=database, directory=Directory())
        # The first user of a server costs one more statement.
        self.register("first")

    def cost(self, request: Callable[[], Any]) -> Cost:
        with postgres.statement_log(self.args) as statements:
            request()
        return Cost.of([statement.text for statement in statements])

    def assertOneTransaction(self, cost: Cost, alone: str) -> None:
        """All writes are one transaction of few statements; ``alone``: the first words of the
        statements before and after it, in order."""
        self.assertEqual(len(cost.transactions), 1, cost)
        self.assertLessEqual(len(cost.transactions[0]), MOST, cost)
        self.assertAlone(cost, alone)

    def assertAlone(self, cost: Cost, alone: str) -> None:
        self.assertEqual([text.split()[0] for text in cost.alone], alone.split(), cost)

    def test_oneShot(self) -> None:
        """A registration in one request: whether the name is free, one transaction, one finished
        job."""
        cost = self.cost(lambda: self.register("alice"))
        self.assertOneTransaction(cost, "SELECT DELETE")

    def test_withRefreshToken(self) -> None:
        """Every kind of login costs the same."""
        cost = self.cost(lambda: self.register("alice", refresh_token=True, device_id="PHONE"))
        self.assertOneTransaction(cost, "SELECT DELETE")

    def test_audit(self) -> None:
        """An audit log costs one statement of that transaction; if it is off, none; a refusal costs
        none while the client waits."""
        cost = self.cost(lambda: self.register("alice"))
        self.assertNotIn("audit", str(cost))
        options = {"regsys": {"audit": {"enabled": True}}}
        self.system(database=self.database, directory=Directory(), **options)
        self.register("second")
        audited = self.cost(lambda: self.register("bob"))
        self.assertOneTransaction(audited, "SELECT DELETE")
        ((without,), (statements,)) = cost.transactions, audited.transactions
        self.assertEqual(len(statements), len(without) + 1, audited)
        self.assertEqual(sum("INTO audit" in text for text in statements), 1, audited)
        taken = {"username": "bob", "password": PASSWORD, "auth": DUMMY}
        self.assertAlone(self.cost(lambda: self.client.register(**taken)), "SELECT")

    def test_generatedName(self) -> None:
        """A generated name costs its number, and a check whether it is free."""
        body = {"password": PASSWORD, "auth": DUMMY}
        cost = self.cost(lambda: self.client.register(**body))
        self.assertOneTransaction(cost, "SELECT SELECT DELETE")

    def test_twoSteps(self) -> None:
        """A challenge writes in one statement; the hash is kept, later, in another; the completion
        takes one transaction."""
        cost = self.cost(lambda: self.challenge(username="alice", password=PASSWORD))
        self.assertEqual(cost.transactions, [], cost)
        self.assertAlone(cost, "SELECT INSERT")

    def test_heldName(self) -> None:
        """Where names are held, a challenge costs the look whether another session holds it, and
        its end the same look twice, of which one is in the account's transaction."""
        self.system(database=self.database, regsys={"hold_names": True})
        cost = self.cost(lambda: self.challenge(username="alice", password=PASSWORD))
        self.assertEqual(cost.transactions, [], cost)
        self.assertAlone(cost, "SELECT SELECT INSERT")
        cost = self.cost(lambda: self.register("bob"))
        self.assertOneTransaction(cost, "SELECT SELECT")
        self.assertEqual(sum("held_name" in text for text in cost.transactions[0]), 1, cost)

    def test_completion(self) -> None:
        """The completing request loads its session, and writes in one transaction."""
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        cost = self.cost(lambda: self.clock.advance(0))
        self.assertEqual(cost.transactions, [], cost)
        self.assertAlone(cost, "UPDATE")
        auth = {**DUMMY, "session": session}
        cost = self.cost(lambda: self.client.register(auth=auth))
        self.assertOneTransaction(cost, "SELECT SELECT DELETE")

    def test_ghosts(self) -> None:
        """A ghost costs one small transaction and its job's end, and the last as much as the
        first."""
        costs = []
        for number in range(100):
            with postgres.statement_log(self.args) if number in (0, 99) else nullcontext([]) as log:
                self.made(f"_irc_{number}", inhibit_login=True)
            costs.append([statement.text.split()[:3] for statement in log])
        self.assertEqual(costs[0], costs[99])
        cost = self.cost(lambda: self.made("_irc_last", inhibit_login=True))
        self.assertOneTransaction(cost, "DELETE")
        self.assertLessEqual(len(cost.transactions[0]), 4, cost)
        # Bridges ask again for existing ghosts: that takes two statements.
        cost = self.cost(lambda: self.ask("_irc_last"))
        self.assertEqual([len(texts) for texts in cost.transactions], [3], cost)

    def test_policies(self) -> None:
        """However many policies are accepted, they cost one statement of that transaction."""
        text = {"en": {"name": "P", "url": "https://p.example/"}}
        policies = {name: {"version": "1", **text} for name in ("one", "two", "three")}
        self.system(database=self.database, regsys={"policies": policies})
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        self.clock.advance(0)
        self.client.register(auth={"type": "m.login.terms", "session": session})
        cost = self.cost(lambda: self.client.register(auth={**DUMMY, "session": session}))
        self.assertOneTransaction(cost, "SELECT SELECT")
        (statements,) = cost.transactions
        self.assertEqual(sum("consents" in text for text in statements), 1, cost)

    def test_email(self) -> None:
        """A validated address costs two statements of that transaction, and a check of its owner;
        requesting its token is one transaction, too."""
        options = {"email": {"notif_from": "s@test.example"}, "rc_3pid_validation": PLENTY}
        mails = MemoryMails()
        self.system(database=self.database, hooks=self.hooks(mails=mails), **options)
        ask = {"email": "a@mail.example", "client_secret": "s", "send_attempt": 1}
        cost = self.cost(lambda: self.client.post(f"{V3}/register/email/requestToken", ask))
        self.assertOneTransaction(cost, "SELECT SELECT DELETE")
        sid = self.client.post(f"{V3}/register/email/requestToken", ask).json["sid"]
        self.wait(ValidationStore(self.database).confirm(sid, self.now_ms))
        session = self.challenge(username="alice", password=PASSWORD)["session"]
        self.clock.advance(0)
        creds = {"sid": sid, "client_secret": "s"}
        auth = {"type": "m.login.email.identity", "threepid_creds": creds, "session": session}
        cost = self.cost(lambda: self.client.register(auth=auth))
        self.assertOneTransaction(cost, "SELECT SELECT SELECT UPDATE SELECT")
        (statements,) = cost.transactions
        self.assertEqual(sum("INTO threepids" in text for text in statements), 1, cost)
        self.assertEqual(sum("validations" in text for text in statements), 1, cost)

    def test_hiddenAddress(self) -> None:
        """A token for an address in use costs the very same statements as for a free one, if that
        is to be hidden (threat A2)."""
        options = {"email": {"notif_from": "s@test.example"}, "rc_3pid_validation": PLENTY}
        self.system(
            database=self.database,
            hooks=self.hooks(mails=MemoryMails()),
            request_token_inhibit_3pid_errors=True,
            **options,
        )
        owned = "VALUES ('email', 'taken@a.example', '@first:test.example', 1, 1)"
        self.change(f"INSERT INTO threepids {owned}")
        costs = [self.cost_of_mail(f"{name}@a.example") for name in ("taken", "other")]
        self.assertEqual(costs[0], costs[1])

    def cost_of_mail(self, email: str) -> str:
        """The statements of a token request for this address, without any value."""
        ask = {"email": email, "client_secret": "s", "send_attempt": 1}
        cost = self.cost(lambda: self.client.post(f"{V3}/register/email/requestToken", ask))
        texts = [*(text for inside in cost.transactions for text in inside), *cost.alone]
        self.assertGreater(len(texts), 5, cost)
        return re.sub(r"'[^']*'|\b[0-9]+\b", "?", "\n".join(texts))

    def test_rooms(self) -> None:
        """Rooms to join cost the transaction a deduplication key and a statement for each room, and
        afterwards for each a look at the user and one to finish: nothing that grows with the
        accounts."""
        rooms, names = MemoryRooms(), ("#one:test.example", "#two:test.example")
        for name in names:
            rooms.add(name, MemoryRoom(room_id=name, public=True))
        self.system(database=self.database, rooms=rooms, auto_join_rooms=[*names])
        self.register("second")
        cost = self.cost(lambda: self.register("alice"))
        (statements,) = cost.transactions
        added = [text for text in statements if "jobs" in text or "first_times" in text]
        self.assertEqual(len(added), 1 + len(names), cost)
        self.assertLessEqual(len(statements), MOST + 1 + len(names), cost)
        self.assertAlone(cost, "SELECT" + " SELECT DELETE" * len(names))

    def test_guest(self) -> None:
        """A guest costs the same as a generated name."""
        cost = self.cost(self.guest)
        self.assertOneTransaction(cost, "SELECT SELECT DELETE")

    def test_upgrade(self) -> None:
        """A guest who becomes a user is looked up by its token, and written in one transaction."""
        guest = self.guest()
        name = UserID.parse(guest["user_id"]).localpart
        token = guest["access_token"]
        cost = self.cost(lambda: self.register(name, guest_access_token=token))
        self.assertEqual(len(cost.transactions), 1, cost)
        self.assertLessEqual(len(cost.transactions[0]), MOST, cost)
        self.assertEqual({text.split()[0] for text in cost.alone}, {"SELECT"}, cost)

    def test_countedUsers(self) -> None:
        """A limit of active users costs a registration, now and then, one transaction that writes
        the users seen, and one count; otherwise nothing."""
        self.system(database=self.database, limit_usage_by_mau=True, max_mau_value=100)
        cost = self.cost(lambda: self.register("alice"))
        self.assertOneTransaction(cost, "SELECT SELECT")
        cost = self.cost(lambda: self.register("bob"))
        self.assertOneTransaction(cost, "SELECT")
        self.clock.advance(COUNT_KEPT_S)
        cost = self.cost(lambda: self.register("carol"))
        (written,), _ = cost.transactions
        self.assertIn("INTO active_users", written, cost)
        self.assertAlone(cost, "SELECT SELECT")

    def test_watchedUsers(self) -> None:
        """If users are only counted, and idle guests end, no request costs one more statement."""
        self.system(database=self.database, mau_stats_only=True, regsys={"guest_expiry": "30d"})
        cost = self.cost(lambda: self.register("alice"))
        self.assertOneTransaction(cost, "SELECT")
        token = self.register("bob")["access_token"]
        self.assertAlone(self.cost(lambda: self.whoami(token)), "SELECT")
        cost = self.cost(self.guest)
        self.assertOneTransaction(cost, "SELECT SELECT")

    def test_availability(self) -> None:
        """Whether a name is free is one query."""
        cost = self.cost(lambda: self.client.get(f"{V3}/register/available?username=alice"))
        self.assertEqual(cost.transactions, [], cost)
        self.assertAlone(cost, "SELECT")

    def test_whoami(self) -> None:
        """So is the owner of a token."""
        token = self.register("alice")["access_token"]
        cost = self.cost(lambda: self.whoami(token))
        self.assertEqual(cost.transactions, [], cost)
        self.assertAlone(cost, "SELECT")
