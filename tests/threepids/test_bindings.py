"""Binding and unbinding addresses at identity servers, and the modules' callbacks (B7.10)."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs

from regsys.errors import Unavailable
from regsys.interfaces import IRequestSigner
from regsys.model import UserID
from regsys.model.identity_server_bindings import ASKING_MS
from regsys.outbound.http import DEADLINE_S
from regsys.storage.identity_server_bindings import BindingStore
from regsys.testing import provides
from tests.doubles.identity import DRIP, HANG_UP, NONSENSE, REFUSALS, STALL
from tests.doubles.identity_v2 import LIES, MOMENTS, NEVER, OTHER_BINDINGS, TOKEN, UNSIGNED
from tests.support.accounts import THREEPIDS
from tests.support.bindings import (
    ALICE_ID,
    NO_SUPPORT,
    OTHER,
    SECRET,
    SERVER,
    SUCCESS,
    BindingCase,
    Signer,
)
from tests.support.validations import ALICE

# Neither yes nor no, at every step.
MEANINGLESS = sorted(set(NONSENSE) - {"401", "empty-object"} | {HANG_UP})


async def dying(store: BindingStore, binding_id: str) -> None:
    raise Unavailable()


class BindTests(BindingCase):
    def test_bound(self) -> None:
        """The validated address is fetched first, then modules are asked, then it is bound, and
        then they are told; it need not be one of the account's."""
        self.register_callbacks()
        self.bind_address(f"ok..{ALICE.upper()}")
        (_, query, bearer), (step, fields, _) = self.double.asked
        creds = {"sid": f"ok..{ALICE.upper()}", "client_secret": SECRET}
        self.assertEqual((query, bearer), (creds, f"Bearer {TOKEN}"))
        self.assertEqual((step, fields), ("bind", {**creds, "mxid": ALICE_ID}))
        expected = (SERVER, ALICE_ID, "email", ALICE, True)
        self.assertEqual(self.module_calls, [("check", *expected), ("update", *expected)])
        self.assertEqual(self.stored_bindings, [(ALICE, SERVER)])
        self.assertEqual(self.addresses_of(self.alice), [])

    def test_again(self) -> None:
        """Binding is idempotent."""
        self.bind_address()
        self.bind_address(f"bind=silent-yes..{ALICE}", id_server="ID.example:443")
        self.assertEqual(self.stored_bindings, [(ALICE, SERVER)])

    def test_objection(self) -> None:
        """A module that objects refuses in its own words: nothing is bound or stored."""
        for errcode, expected in ((None, "M_THREEPID_DENIED"), ("ORG.EXAMPLE", "ORG.EXAMPLE")):
            self.restart()
            self.register_callbacks((errcode, "Not there."))
            answer = self.bind()
            self.assertRefused(answer, 403, expected)
            self.assertEqual(
                (answer.json["error"], self.identity_server_steps), ("Not there.", ["proven"])
            )
            self.assertEqual(self.stored_bindings, [])

    def test_brokenModule(self) -> None:
        """A module that fails prevents the binding."""
        self.register_callbacks("perhaps")
        self.assertRefused(self.bind(), 503, "M_UNKNOWN")
        self.assertEqual((self.identity_server_steps, self.stored_bindings), (["proven"], []))

    def test_refusals(self) -> None:
        """A refusal of the identity server is passed on, except for errcodes that a client would
        take for the end of its login here; nothing is stored."""
        for step in ("proven", "bind"):
            for name, (status, body) in REFUSALS.items():
                answer = self.bind(f"{step}={name}..{ALICE}")
                self.assertRefused(answer, status, body["errcode"], (step, name))
                wait_ms = body.get("retry_after_ms")
                self.assertEqual(answer.json.get("retry_after_ms"), wait_ms, name)
        self.assertRefused(self.bind(token=UNSIGNED), 403, "M_TERMS_NOT_SIGNED")
        self.assertRefused(self.bind(token="stolen"), 403, "M_FORBIDDEN")
        self.assertRefused(self.bind(f"bind=401..{ALICE}"), 403, "M_FORBIDDEN")
        self.assertEqual((self.stored_bindings, self.double.bound), ([], {}))

    def test_refusalForgetsNothingOlder(self) -> None:
        """A refusal to bind again does not remove an earlier binding."""
        self.bind_address()
        self.assertRefused(self.bind(f"bind=silent..{ALICE}"), 403, "ORG.EXAMPLE_NO")
        self.assertEqual(self.stored_bindings, [(ALICE, SERVER)])

    def test_saysNothing(self) -> None:
        """A meaningless answer is a 503; if it came instead of a success, the address may be bound,
        and is stored, so that it can be unbound."""
        for fault in MEANINGLESS:
            self.assertRefused(self.bind(f"proven={fault}..{ALICE}"), 503, "M_UNKNOWN", fault)
            self.assertEqual(self.stored_bindings, [], fault)
        for fault in (*MEANINGLESS, *OTHER_BINDINGS):
            answer = self.bind(f"bind={fault}..{fault}@mail.example")
            self.assertRefused(answer, 503, "M_UNKNOWN", fault)
            self.assertIn((f"{fault}@mail.example", SERVER), self.stored_bindings)

    def test_lies(self) -> None:
        """An invalid address, or a session that is not validated, reaches no module and is not
        bound."""
        self.register_callbacks()
        for name in LIES:
            self.assertRefused(self.bind(f"proven={name}..{ALICE}"), 503, "M_UNKNOWN", name)
        self.assertEqual((self.module_calls, set(self.identity_server_steps)), ([], {"proven"}))

    def test_whateverTheMoment(self) -> None:
        """A binding needs medium and address: the time of the validation is ignored."""
        for name in MOMENTS:
            self.bind_address(f"proven={name}..{ALICE}")

    def test_goneMeanwhile(self) -> None:
        """If the user is deactivated while the server is asked to bind, nothing stays bound,
        whatever the server answers, and also if the process dies of its answer."""
        for name, sid, status in (
            ("alice", f"ok..{ALICE}", 200),
            ("bob", f"bind=500..{ALICE}", 503),
            ("carol", f"ok..{ALICE}", 503),
        ):
            token = {"alice": self.alice, "bob": self.bob}.get(name)
            token = token or self.register(name)["access_token"]
            if name == "carol":
                self.patch(BindingStore, "mark_answered", dying)
            self.double.meanwhile = {"bind": lambda name=name: self.deactivate(name)}
            self.assertEqual(self.bind(sid, access_token=token).status, status, name)
            self.run_jobs(ASKING_MS)
            self.assertEqual((self.double.bound, self.stored_bindings), ({}, []), name)

    def test_goneBefore(self) -> None:
        """If the user is deactivated before the server is asked, nothing is bound at all."""
        self.bind_address()
        self.double.meanwhile = {"proven": lambda: self.deactivate("alice")}
        self.assertRefused(self.bind(), 401, "M_UNKNOWN_TOKEN")
        self.run_jobs(ASKING_MS)
        self.assertEqual((self.double.bound, self.stored_bindings), ({}, []))
        self.assertEqual(self.identity_server_steps.count("bind"), 1)

    def test_notWhileItIsBound(self) -> None:
        """A binding under way cannot be removed yet: it would be made afterwards."""
        self.double.meanwhile = {
            "bind": lambda: self.assertRefused(self.unbind(), 503, "M_UNKNOWN")
        }
        self.bind_address()
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_wrongClock(self) -> None:
        """A binding that a wrong clock has dated years ahead can be removed all the same."""
        self.bind_address()
        self.change("UPDATE bindings SET asked_until_ms = ?", self.now_ms + 10**11)
        self.assertUnbound(self.unbind(), SUCCESS)

    def deactivate(self, name: str) -> None:
        self.double.meanwhile = {}
        self.wait(self.subsystem.handler.deactivated(UserID(name, "test.example")))

    def test_slow(self) -> None:
        """A stalled server, or a very slow one, is given up after ten seconds."""
        for fault in (STALL, DRIP):
            body = {"sid": f"bind={fault}..{ALICE}", "client_secret": SECRET}
            body.update(id_access_token=TOKEN, id_server=SERVER)
            asking = self.client.start("POST", f"{THREEPIDS}/bind", body, token=self.alice)
            self.clock.pump([1] * int(DEADLINE_S))
            self.assertRefused(self.client.answer(asking), 503, "M_UNKNOWN", fault)

    def test_parameters(self) -> None:
        """A missing or malformed parameter is refused, and no server is asked."""
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
        """Without a name the default server is used; with a list no other server is asked, and
        never an address of our own networks."""
        self.restart(default_identity_server="https://default.example/")
        creds = {"sid": f"ok..{ALICE}", "client_secret": SECRET, "id_access_token": TOKEN}
        self.client.post(f"{THREEPIDS}/bind", creds, token=self.alice)
        self.assertEqual(self.stored_bindings, [(ALICE, "default.example")])
        for name in ("127.0.0.1", "10.1.2.3:8090", "[::1]", "[fd00::1]:1", "2130706433"):
            self.assertRefused(self.bind(id_server=name), 403, "M_FORBIDDEN", name)
        self.restart(regsys={"identity_servers": ["http://127.0.0.1:8090"]})
        self.assertRefused(self.bind(), 403, "M_FORBIDDEN")
        self.assertUnbound(self.unbind(id_server=SERVER), NO_SUPPORT)
        self.assertEqual(self.bind(id_server="127.0.0.1:8090").status, 200)

    def test_lookupsOff(self) -> None:
        """If lookups are off no address can be bound, and existing bindings can be removed."""
        self.bind_address()
        self.restart(enable_3pid_lookup=False)
        self.assertRefused(self.bind(), 403, "M_FORBIDDEN")
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_limit(self) -> None:
        """An account can cause a limited rate of requests to other servers."""
        self.restart(rc_3pid_validation={"per_second": 0.01, "burst_count": 2})
        answers = [self.bind().status, self.unbind().status, self.bind().status]
        self.assertEqual(answers, [200, 200, 429])

    def test_whoMay(self) -> None:
        """A request without a token, from a guest, or where addresses cannot be changed is
        refused."""
        for path in ("/bind", "/unbind"):
            self.assertRefused(self.client.post(THREEPIDS + path), 401, "M_MISSING_TOKEN")
            guest = self.guest()["access_token"]
            answer = self.client.post(THREEPIDS + path, token=guest)
            self.assertRefused(answer, 403, "M_GUEST_ACCESS_FORBIDDEN")
        self.restart(enable_3pid_changes=False)
        self.assertRefused(self.bind(), 400, "M_FORBIDDEN")
        self.assertRefused(self.unbind(), 400, "M_FORBIDDEN")

    def test_encrypted(self) -> None:
        """The database alone does not suffice to bind or unbind."""
        self.bind_address()
        ((proof,),) = self.rows("SELECT proof FROM bindings")
        self.assertNotIn("canary", proof)
        self.restart(signer=Signer())
        self.bind_address()
        self.assertEqual(self.rows("SELECT proof FROM bindings")[0][0], None)


class UnbindTests(BindingCase):
    def test_unbound(self) -> None:
        """A binding is removed, in any spelling; modules are asked before and told after."""
        self.bind_address()
        self.register_callbacks()
        self.assertUnbound(self.unbind(address=f" {ALICE.upper()}"), SUCCESS)
        expected = (SERVER, ALICE_ID, "email", ALICE, False)
        self.assertEqual(self.module_calls, [("check", *expected), ("update", *expected)])
        self.assertEqual((self.double.bound, self.stored_bindings), ({}, []))
        fields = self.double.asked[-1][1]
        self.assertEqual(fields["mxid"], ALICE_ID)
        self.assertEqual(fields["threepid"], {"medium": "email", "address": ALICE})

    def test_nothingBound(self) -> None:
        """Without a binding of ours no server need be asked."""
        self.bind_address(f"ok..{OTHER}")
        self.identity_server_steps  # noqa: B018
        for more in ({}, {"id_server": SERVER}, {"id_server": "elsewhere.example"}):
            self.assertUnbound(self.unbind(**more), NO_SUPPORT, more)
        self.assertEqual(self.identity_server_steps, [])

    def test_others(self) -> None:
        """A binding of another account cannot be removed."""
        self.bind_address()
        self.alice, hers = self.bob, self.alice
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.alice = hers
        self.assertEqual(self.double.bound[ALICE][0], ALICE_ID)

    def test_signed(self) -> None:
        """With a homeserver's signer, a binding from before regsys can be removed, too."""
        signer = Signer()
        provides(IRequestSigner, signer)
        self.restart(signer)
        self.double.bound[ALICE] = (ALICE_ID, ("unknown", "to us"))
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.assertUnbound(self.unbind(id_server=SERVER), SUCCESS)
        ((step, fields, authorization),) = self.double.asked
        self.assertEqual((step, fields.keys()), ("unbind", {"mxid", "threepid"}))
        self.assertEqual(authorization, 'X-Matrix origin="test.example"')
        uri = "/_matrix/identity/v2/3pid/unbind"
        self.assertEqual(signer.asked, [("POST", uri, SERVER, fields)])

    def test_deletedAtAServer(self) -> None:
        """Deleting an address removes our bindings, and one at the named server, if possible: a
        server that may not be asked, or requires a session that only another account has, is
        no-support. The address is deleted all the same."""
        for signer, id_server, result, asked in (
            (None, SERVER, SUCCESS, [SERVER]),
            (None, "elsewhere.example", NO_SUPPORT, [SERVER]),
            (None, "127.0.0.1", NO_SUPPORT, [SERVER]),
            (Signer(), "elsewhere.example", NO_SUPPORT, [SERVER, "elsewhere.example"]),
        ):
            self.restart(signer)
            self.add_address(self.alice)
            self.bind_address()
            self.register_callbacks()
            self.module_calls.clear()
            answer = self.delete(self.alice, id_server=id_server)
            self.assertUnbound(answer, result, id_server)
            self.assertEqual(
                [name for kind, name, *_ in self.module_calls if kind == "check"], asked
            )
            self.assertEqual(
                (self.addresses_of(self.alice), self.stored_bindings), ([], []), id_server
            )

    def test_deletedWhatOthersBound(self) -> None:
        """With a signature, a binding from before regsys is removed with the address; the server is
        asked again later if it is down, also if the process dies. Requests that name a server are
        limited, and an odd name changes nothing."""
        self.restart(Signer(), rc_3pid_validation={"per_second": 0.001, "burst_count": 3})
        self.add_address(self.alice)
        self.assertRefused(self.delete(self.alice, id_server="a b"), 400, "M_INVALID_PARAM")
        self.assertEqual(self.addresses_of(self.alice), [ALICE])
        self.double.bound[ALICE] = (ALICE_ID, ("unknown", "to us"))
        self.assertUnbound(self.delete(self.alice, id_server=SERVER), SUCCESS)
        self.assertEqual((self.addresses_of(self.alice), self.double.bound), ([], {}))
        self.double.bound[ALICE] = (ALICE_ID, ("unknown", "to us"))
        self.double.away = True
        self.assertUnbound(self.delete(self.alice, id_server=SERVER), NO_SUPPORT)
        self.assertEqual(self.stored_bindings, [(ALICE, SERVER)])
        self.double.away = False
        self.run_jobs()
        self.assertEqual((self.stored_bindings, self.double.bound), ([], {}))
        self.delete(self.alice, id_server="one.example")
        limited = self.delete(self.alice, id_server="two.example")
        self.assertRefused(limited, 429, "M_LIMIT_EXCEEDED")
        self.assertEqual(self.delete(self.alice).status, 200)

    def test_signerFails(self) -> None:
        """A signer that fails is logged, and the request can be repeated."""
        self.bind_address()
        self.restart(Signer(RuntimeError("no key")))
        self.assertRefused(self.unbind(), 503, "M_UNKNOWN")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)
        self.restart(Signer())
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_never(self) -> None:
        """A server that refuses for good, or cannot unbind, is no-support."""
        for name in [*NEVER, "no-session", "silent", "401", "400-html"]:
            self.bind_address(f"unbind={name}..{ALICE}")
            self.assertUnbound(self.unbind(), NO_SUPPORT, name)

    def test_later(self) -> None:
        """A temporary failure is a 503 that can be repeated: nothing is removed."""
        for name in ["limited", *(name for name in MEANINGLESS if not name.startswith("400"))]:
            self.bind_address(f"unbind={name}..{ALICE}")
            self.assertRefused(self.unbind(), 503, "M_UNKNOWN", name)
            self.assertEqual(self.stored_bindings, [(ALICE, SERVER)], name)
        self.bind_address()
        self.assertUnbound(self.unbind(), SUCCESS)

    def test_objection(self) -> None:
        """A module that objects keeps the binding; the result is no-support."""
        self.bind_address()
        self.register_callbacks(("M_FORBIDDEN", "Stay."))
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.assertEqual((self.stored_bindings, len(self.double.bound)), ([(ALICE, SERVER)], 1))

    def test_objectionToOne(self) -> None:
        """A module that objects for one server does not affect the others; the result is not a
        success then."""
        for name in ("one.example", SERVER):
            self.bind_address(id_server=name)
        self.object_to_unbinding("one.example")
        self.assertUnbound(self.unbind(), NO_SUPPORT)
        self.assertEqual(self.stored_bindings, [(ALICE, "one.example")])

    def test_several(self) -> None:
        """All servers are asked at once; the bindings of those that answer are removed, and only
        all of them are a success."""
        for name, sid in (
            ("one.example", "ok"),
            (SERVER, f"unbind={STALL}"),
            ("two.example", "ok"),
        ):
            self.bind_address(f"{sid}..{ALICE}", id_server=name)
        asking = self.start_unbind()
        self.clock.pump([1] * int(DEADLINE_S))
        self.assertRefused(self.client.answer(asking), 503, "M_UNKNOWN")
        self.assertEqual([server for _, server in self.stored_bindings], [SERVER, "two.example"])


class NoticeTests(BindingCase):
    def test_trouble(self) -> None:
        """A callback that raises, or never ends, is logged; no request waits, and the others are
        told all the same."""

        def broken(*args: Any) -> None:
            raise Unavailable("not for the client")

        self.changes.updates.register("broken", broken)
        self.changes.updates.register("hanging", lambda *args: Deferred())
        self.register_callbacks()
        with capturedLogs() as logs:
            self.bind_address()
            self.clock.advance(10)
        self.assertEqual(self.module_calls[-1][0], "update")
        blamed = {event["module"] for event in logs if "module" in event}
        self.assertEqual(blamed, {"broken", "hanging"})
        self.flushLoggedErrors(Unavailable)
