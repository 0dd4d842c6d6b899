"""What identity servers are asked for people with accounts, and what is told to whom (B7.10)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.errors import Unavailable
from regsys.interfaces import IBindingChanges, IIdentityServers, IRequestSigner
from regsys.model import ASKING_MS, UserID
from regsys.outbound.http import DEADLINE_S
from regsys.storage.identity_server_bindings import BindingStore
from regsys.testing import provides
from tests.doubles.identity import DRIP, HANG_UP, NONSENSE, REFUSALS, STALL
from tests.doubles.identity_v2 import LIES, MOMENTS, NEVER, OTHER_BINDINGS, TOKEN, UNSIGNED
from tests.support.accounts import THREEPIDS
from tests.support.bindings import (
    HER,
    NO_SUPPORT,
    OTHER,
    SECRET,
    SERVER,
    SUCCESS,
    BindingCase,
    Signer,
)
from tests.support.validations import ALICE

# What is neither yes nor no, at every step.
SILENCES = sorted(set(NONSENSE) - {"401", "empty-object"} | {HANG_UP})


async def dying(store: BindingStore, binding_id: str) -> None:
    raise Unavailable()


class BindTests(BindingCase):
    def test_provides(self) -> None:
        """The parts are what is asked for."""
        provides(IBindingChanges, self.changes)
        provides(IIdentityServers, self.subsystem.handler.writer.deactivation.parts[-1].servers)

    def test_bound(self) -> None:
        """What the session has proven is learned first, then modules are asked, then it is bound,
        and then they are told; the address need not be one of the account's."""
        self.listen()
        self.bound(f"ok..{ALICE.upper()}")
        (_, query, bearer), (step, fields, _) = self.double.asked
        creds = {"sid": f"ok..{ALICE.upper()}", "client_secret": SECRET}
        self.assertEqual((query, bearer), (creds, f"Bearer {TOKEN}"))
        self.assertEqual((step, fields), ("bind", {**creds, "mxid": HER}))
        told = (SERVER, HER, "email", ALICE, True)
        self.assertEqual(self.heard, [("check", *told), ("update", *told)])
        self.assertEqual(self.remembered, [(ALICE, SERVER)])
        self.assertEqual(self.held(self.alice), [])

    def test_again(self) -> None:
        """Binding is idempotent."""
        self.bound()
        self.bound(f"bind=silent-yes..{ALICE}", id_server="ID.example:443")
        self.assertEqual(self.remembered, [(ALICE, SERVER)])

    def test_objection(self) -> None:
        """A module that objects has its way and its words: nothing is bound or remembered."""
        for errcode, expected in ((None, "M_THREEPID_DENIED"), ("ORG.EXAMPLE", "ORG.EXAMPLE")):
            self.over_again()
            self.listen((errcode, "Not there."))
            answer = self.bind()
            self.assertRefused(answer, 403, expected)
            self.assertEqual((answer.json["error"], self.steps), ("Not there.", ["proven"]))
            self.assertEqual(self.remembered, [])

    def test_brokenModule(self) -> None:
        """One that fails lets nothing happen."""
        self.listen("perhaps")
        self.assertRefused(self.bind(), 503, "M_UNKNOWN")
        self.assertEqual((self.steps, self.remembered), (["proven"], []))

    def test_refusals(self) -> None:
        """What the identity server refuses is told in its words, but for those that a client
        would take for the end of its login here; nothing is remembered."""
        for step in ("proven", "bind"):
            for name, (status, body) in REFUSALS.items():
                answer = self.bind(f"{step}={name}..{ALICE}")
                self.assertRefused(answer, status, body["errcode"], (step, name))
                wait_ms = body.get("retry_after_ms")
                self.assertEqual(answer.json.get("retry_after_ms"), wait_ms, name)
        self.assertRefused(self.bind(token=UNSIGNED), 403, "M_TERMS_NOT_SIGNED")
        self.assertRefused(self.bind(token="stolen"), 403, "M_FORBIDDEN")
        self.assertRefused(self.bind(f"bind=401..{ALICE}"), 403, "M_FORBIDDEN")
        self.assertEqual((self.remembered, self.double.bound), ([], {}))

    def test_refusalForgetsNothingOlder(self) -> None:
        """A refusal to bind anew does not forget what has been bound before."""
        self.bound()
        self.assertRefused(self.bind(f"bind=silent..{ALICE}"), 403, "ORG.EXAMPLE_NO")
        self.assertEqual(self.remembered, [(ALICE, SERVER)])

    def test_saysNothing(self) -> None:
        """What makes no sense is a 503; where it came instead of a yes, the address may be bound,
        and is remembered, so that it can be unbound."""
        for mishap in SILENCES:
            self.assertRefused(self.bind(f"proven={mishap}..{ALICE}"), 503, "M_UNKNOWN", mishap)
            self.assertEqual(self.remembered, [], mishap)
        for mishap in (*SILENCES, *OTHER_BINDINGS):
            answer = self.bind(f"bind={mishap}..{mishap}@mail.example")
            self.assertRefused(answer, 503, "M_UNKNOWN", mishap)
            self.assertIn((f"{mishap}@mail.example", SERVER), self.remembered)

    def test_lies(self) -> None:
        """What is no address, or no proof, is shown to no module and bound to nobody."""
        self.listen()
        for name in LIES:
            self.assertRefused(self.bind(f"proven={name}..{ALICE}"), 503, "M_UNKNOWN", name)
        self.assertEqual((self.heard, set(self.steps)), ([], {"proven"}))

    def test_whateverTheMoment(self) -> None:
        """Medium and address are what a bind needs: when they were proven is not looked at."""
        for name in MOMENTS:
            self.bound(f"proven={name}..{ALICE}")

    def test_goneMeanwhile(self) -> None:
        """Who is deactivated while the server is asked to bind is bound to nothing afterwards,
        whatever the server answers, and also if we die of its answer."""
        for name, sid, status in (
            ("alice", f"ok..{ALICE}", 200),
            ("bob", f"bind=500..{ALICE}", 503),
            ("carol", f"ok..{ALICE}", 503),
        ):
            token = {"alice": self.alice, "bob": self.bob}.get(name)
            token = token or self.register(name)["access_token"]
            if name == "carol":
                self.patch(BindingStore, "answered", dying)
            self.double.meanwhile = {"bind": lambda name=name: self.deactivate(name)}
            self.assertEqual(self.bind(sid, who=token).status, status, name)
            self.run_jobs(ASKING_MS)
            self.assertEqual((self.double.bound, self.remembered), ({}, []), name)
        # What was still being bound when its owner went could not be unbound at once.
        self.assertEqual(len(self.failed_jobs.flush()), 3)

    def test_goneBefore(self) -> None:
        """Who is deactivated before it is asked for is bound to nothing at all."""
        self.bound()
        self.double.meanwhile = {"proven": lambda: self.deactivate("alice")}
        self.assertRefused(self.bind(), 401, "M_UNKNOWN_TOKEN")
        self.run_jobs(ASKING_MS)
        self.assertEqual((self.double.bound, self.remembered), ({}, []))
        self.assertEqual(self.steps.count("bind"), 1)

    def test_notWhileItIsBound(self) -> None:
        """What is being bound cannot be unbound yet: it would be, afterwards."""
        self.double.meanwhile = {
            "bind": lambda: self.assertRefused(self.unbind(), 503, "M_UNKNOWN")
        }
        self.bound()
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_wrongClock(self) -> None:
        """What a wrong clock says is asked for until years from now can be unbound all the same."""
        self.bound()
        self.change("UPDATE bindings SET asked_until_ms = ?", self.now_ms + 10**11)
        self.assertUnbound(self.unbind(), SUCCESS)

    def deactivate(self, name: str) -> None:
        self.double.meanwhile = {}
        self.wait(self.subsystem.handler.deactivated(UserID(name, "test.example")))

    def test_slow(self) -> None:
        """A server that says nothing, or ever so little, is given up after ten seconds."""
        for mishap in (STALL, DRIP):
            body = {"sid": f"bind={mishap}..{ALICE}", "client_secret": SECRET}
            body.update(id_access_token=TOKEN, id_server=SERVER)
            asking = self.client.start("POST", f"{THREEPIDS}/bind", body, token=self.alice)
            self.clock.pump([1] * int(DEADLINE_S))
            self.assertRefused(self.client.answer(asking), 503, "M_UNKNOWN", mishap)

    def test_parameters(self) -> None:
        """What is missing, of a wrong type or no name is refused, and nobody is asked."""
        cases: tuple[tuple[dict[str, Any], str], ...] = (
            ({"sid": None}, "M_BAD_JSON"),
            ({"sid": "x" * 300}, "M_INVALID_PARAM"),
            ({"client_secret": "a b"}, "M_INVALID_PARAM"),
            ({"id_access_token": "a\r\nHost: b"}, "M_INVALID_PARAM"),
            ({"id_access_token": ""}, "M_INVALID_PARAM"),
            ({"id_access_token": 5}, "M_BAD_JSON"),
            ({"id_server": 5}, "M_BAD_JSON"),
            *(({"id_server": name}, "M_INVALID_PARAM") for name in ("", "a/b", "u@a", "a:0")),
        )
        for changes, errcode in cases:
            self.assertRefused(self.bind(**changes), 400, errcode, changes)
        answer = self.client.post(f"{THREEPIDS}/bind", token=self.alice)
        self.assertRefused(answer, 400, "M_MISSING_PARAM")
        creds = {"sid": "a", "client_secret": SECRET, "id_access_token": TOKEN}
        answer = self.client.post(f"{THREEPIDS}/bind", creds, token=self.alice)
        self.assertRefused(answer, 400, "M_MISSING_PARAM", "id_server")
        self.assertEqual(self.double.asked, [])

    def test_whichServers(self) -> None:
        """The default one is meant where none is named; with a list nobody else is asked; an
        address of our own networks never is."""
        self.over_again(default_identity_server="https://default.example/")
        creds = {"sid": f"ok..{ALICE}", "client_secret": SECRET, "id_access_token": TOKEN}
        self.client.post(f"{THREEPIDS}/bind", creds, token=self.alice)
        self.assertEqual(self.remembered, [(ALICE, "default.example")])
        for name in ("127.0.0.1", "10.1.2.3:8090", "[::1]", "[fd00::1]:1", "2130706433"):
            self.assertRefused(self.bind(id_server=name), 403, "M_FORBIDDEN", name)
        self.over_again(regsys={"identity_servers": ["http://127.0.0.1:8090"]})
        self.assertRefused(self.bind(), 403, "M_FORBIDDEN")
        self.assertUnbound(self.unbind(id_server=SERVER), NO_SUPPORT)
        self.assertEqual(self.bind(id_server="127.0.0.1:8090").status, 200)

    def test_lookupsOff(self) -> None:
        """Where addresses are not to be looked up none is bound, and what was can be unbound."""
        self.bound()
        self.over_again(enable_3pid_lookup=False)
        self.assertRefused(self.bind(), 403, "M_FORBIDDEN")
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_limit(self) -> None:
        """An account makes us ask others only so often."""
        self.over_again(rc_3pid_validation={"per_second": 0.01, "burst_count": 2})
        answers = [self.bind().status, self.unbind().status, self.bind().status]
        self.assertEqual(answers, [200, 200, 429])

    def test_whoMay(self) -> None:
        """Nobody without a token, no guest, and nobody where addresses cannot be changed."""
        for path in ("/bind", "/unbind"):
            self.assertRefused(self.client.post(THREEPIDS + path), 401, "M_MISSING_TOKEN")
            guest = self.guest()["access_token"]
            answer = self.client.post(THREEPIDS + path, token=guest)
            self.assertRefused(answer, 403, "M_GUEST_ACCESS_FORBIDDEN")
        self.over_again(enable_3pid_changes=False)
        self.assertRefused(self.bind(), 400, "M_FORBIDDEN")
        self.assertRefused(self.unbind(), 400, "M_FORBIDDEN")

    def test_sealed(self) -> None:
        """Who has the database alone cannot bind or unbind with what it holds."""
        self.bound()
        ((proof,),) = self.rows("SELECT proof FROM bindings")
        self.assertNotIn("canary", proof)
        self.over_again(signer=Signer())
        self.bound()
        self.assertEqual(self.rows("SELECT proof FROM bindings")[0][0], None)


class UnbindTests(BindingCase):
    def test_unbound(self) -> None:
        """Where it was bound it is unbound, in any spelling; modules are asked before and told
        after."""
        self.bound()
        self.listen()
        self.assertUnbound(self.unbind(address=f" {ALICE.upper()}"), SUCCESS)
        told = (SERVER, HER, "email", ALICE, False)
        self.assertEqual(self.heard, [("check", *told), ("update", *told)])
        self.assertEqual((self.double.bound, self.remembered), ({}, []))
        fields = self.double.asked[-1][1]
        self.assertEqual(fields["mxid"], HER)
        self.assertEqual(fields["threepid"], {"medium": "email", "address": ALICE})

    def test_nothingBound(self) -> None:
        """What nobody has bound through us needs no server to be asked."""
        self.bound(f"ok..{OTHER}")
        self.steps  # noqa: B018
        for more in ({}, {"id_server": SERVER}, {"id_server": "elsewhere.example"}):
            self.assertUnbound(self.unbind(**more), NO_SUPPORT, more)
        self.assertEqual(self.steps, [])

    def test_others(self) -> None:
        """What another account has had bound is not one's own to unbind."""
        self.bound()
        self.alice, hers = self.bob, self.alice
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.alice = hers
        self.assertEqual(self.double.bound[ALICE][0], HER)

    def test_signed(self) -> None:
        """With a homeserver that signs, what was bound before regsys came can be unbound, too."""
        signer = Signer()
        provides(IRequestSigner, signer)
        self.over_again(signer)
        self.double.bound[ALICE] = (HER, ("unknown", "to us"))
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.assertUnbound(self.unbind(id_server=SERVER), SUCCESS)
        ((step, fields, authorization),) = self.double.asked
        self.assertEqual((step, fields.keys()), ("unbind", {"mxid", "threepid"}))
        self.assertEqual(authorization, 'X-Matrix origin="test.example"')
        uri = "/_matrix/identity/v2/3pid/unbind"
        self.assertEqual(signer.asked, [("POST", uri, SERVER, fields)])

    def test_deletedAtAServer(self) -> None:
        """Deleting an address unbinds what we had bound, and at the server that is named, where we
        can: one that may not be asked, or wants a proof that only others have, is no support.
        The address is gone all the same."""
        for signer, id_server, result, asked in (
            (None, SERVER, SUCCESS, [SERVER]),
            (None, "elsewhere.example", NO_SUPPORT, [SERVER]),
            (None, "127.0.0.1", NO_SUPPORT, [SERVER]),
            (Signer(), "elsewhere.example", NO_SUPPORT, [SERVER, "elsewhere.example"]),
        ):
            self.over_again(signer)
            self.added(self.alice)
            self.bound()
            self.listen()
            self.heard.clear()
            answer = self.delete(self.alice, id_server=id_server)
            self.assertUnbound(answer, result, id_server)
            self.assertEqual([name for kind, name, *_ in self.heard if kind == "check"], asked)
            self.assertEqual((self.held(self.alice), self.remembered), ([], []), id_server)

    def test_deletedWhatOthersBound(self) -> None:
        """With a signature, what was bound before regsys came is unbound with the address; the
        server is asked again later if it is away, also if the process dies. So often one may name
        one, and an odd name changes nothing."""
        self.over_again(Signer(), rc_3pid_validation={"per_second": 0.001, "burst_count": 3})
        self.added(self.alice)
        self.assertRefused(self.delete(self.alice, id_server="a b"), 400, "M_INVALID_PARAM")
        self.assertEqual(self.held(self.alice), [ALICE])
        self.double.bound[ALICE] = (HER, ("unknown", "to us"))
        self.assertUnbound(self.delete(self.alice, id_server=SERVER), SUCCESS)
        self.assertEqual((self.held(self.alice), self.double.bound), ([], {}))
        self.double.bound[ALICE] = (HER, ("unknown", "to us"))
        self.double.away = True
        self.assertUnbound(self.delete(self.alice, id_server=SERVER), NO_SUPPORT)
        self.assertEqual(self.remembered, [(ALICE, SERVER)])
        self.double.away = False
        self.run_jobs()
        self.assertEqual((self.remembered, self.double.bound), ([], {}))
        self.delete(self.alice, id_server="one.example")
        limited = self.delete(self.alice, id_server="two.example")
        self.assertRefused(limited, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.delete(self.alice).status, 200)

    def test_signerFails(self) -> None:
        """One that fails is logged, and can be asked again."""
        self.bound()
        self.over_again(Signer(RuntimeError("no key")))
        self.assertRefused(self.unbind(), 503, "M_UNKNOWN")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.over_again(Signer())
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_never(self) -> None:
        """A server that will not, or cannot, is no support."""
        for name in [*NEVER, "no-session", "silent", "401", "400-html"]:
            self.bound(f"unbind={name}..{ALICE}")
            self.assertUnbound(self.unbind(), NO_SUPPORT, name)

    def test_later(self) -> None:
        """What may work later is a 503 that can be repeated: nothing is forgotten."""
        for name in ["limited", *(name for name in SILENCES if not name.startswith("400"))]:
            self.bound(f"unbind={name}..{ALICE}")
            self.assertRefused(self.unbind(), 503, "M_UNKNOWN", name)
            self.assertEqual(self.remembered, [(ALICE, SERVER)], name)
        self.bound()
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_objection(self) -> None:
        """A module that objects keeps it bound; the client is told that nothing can be done."""
        self.bound()
        self.listen(("M_FORBIDDEN", "Stay."))
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.assertEqual((self.remembered, len(self.double.bound)), ([(ALICE, SERVER)], 1))

    def test_objectionToOne(self) -> None:
        """Who objects to one server's has nothing to say of the others'; not all is done then."""
        for name in ("one.example", SERVER):
            self.bound(id_server=name)
        self.keep("one.example")
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.assertEqual(self.remembered, [(ALICE, "one.example")])

    def test_several(self) -> None:
        """All servers are asked at once, those that answer are remembered to have, and only all of
        them are a success."""
        for name, sid in (
            ("one.example", "ok"),
            (SERVER, f"unbind={STALL}"),
            ("two.example", "ok"),
        ):
            self.bound(f"{sid}..{ALICE}", id_server=name)
        asking = self.start_unbind()
        self.clock.pump([1] * int(DEADLINE_S))
        self.assertRefused(self.client.answer(asking), 503, "M_UNKNOWN")
        self.assertEqual([server for _, server in self.remembered], [SERVER, "two.example"])


class NoticeTests(BindingCase):
    def test_trouble(self) -> None:
        """One who is told and raises, or never ends, is logged; nobody waits, and the others are
        told all the same."""

        def broken(*args: Any) -> None:
            raise Unavailable("not for the client")

        self.changes.updates.register("broken", broken)
        self.changes.updates.register("hanging", lambda *args: Deferred())
        self.listen()
        with capturedLogs() as logs:
            self.bound()
            self.clock.advance(10)
        self.assertEqual(self.heard[-1][0], "update")
        blamed = {event["module"] for event in logs if "module" in event}
        self.assertEqual(blamed, {"broken", "hanging"})
        self.flushLoggedErrors(Unavailable)
