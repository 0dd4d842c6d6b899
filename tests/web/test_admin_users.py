"""The administrators' endpoints for accounts, as the tools of the field call them."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping, Optional
from urllib.parse import quote

from regsys.model import UserID
from tests.support.accounts import AccountCase
from tests.support.case import PASSWORD
from tests.support.client import V3, Answer
from tests.support.validations import ALICE as MAIL

ADMIN = "/_synapse/admin"
SERVER = "test.example"
# What synapse-admin sends back of a user whom it has shown, beside what was changed.
SHOWN = {"id": "x", "avatar_src": None, "creation_ts_ms": 5, "suspended": False, "locked": False}


def user(name: str) -> str:
    return f"@{name}:{SERVER}"


def path(name: str, below: str = "", version: str = "v2") -> str:
    return f"{ADMIN}/{version}/users/{quote(user(name), safe='')}{below}"


class AdminCase(AccountCase):
    """Root is an administrator; Alice and Bob are users."""

    options: ClassVar[Mapping[str, Any]] = {
        **AccountCase.options,
        "rc_registration": {"per_second": 1000, "burst_count": 1000},
        "user_types": {"extra_user_types": ["employee"]},
    }

    def setUp(self) -> None:
        super().setUp()
        self.root = self.register("root", device_id="DESK")["access_token"]
        self.change("UPDATE users SET admin = TRUE WHERE name_key = 'root'")

    def ask(self, method: str, where: str, body: Any = None, token: Optional[str] = None) -> Answer:
        return self.client.ask(method, where, body, token=token or self.root)

    def get(self, where: str, status: int = 200) -> Any:
        answer = self.ask("GET", where)
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def put(self, name: str, body: Any, status: int = 200) -> Any:
        answer = self.ask("PUT", path(name), body)
        self.assertEqual(answer.status, status, answer)
        return answer.json

    def log_in(self, name: str, password: str) -> Answer:
        identifier = {"type": "m.id.user", "user": name}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        return self.client.post(f"{V3}/login", body)


class AccessTests(AdminCase):
    ALL = (
        ("GET", f"{ADMIN}/v2/users"),
        ("GET", f"{ADMIN}/v3/users"),
        ("GET", path("alice")),
        ("PUT", path("alice")),
        ("POST", f"{ADMIN}/v1/deactivate/{user('alice')}"),
        ("POST", f"{ADMIN}/v1/reset_password/{user('alice')}"),
        ("GET", path("alice", "/admin", "v1")),
        ("PUT", path("alice", "/admin", "v1")),
        ("GET", path("alice", "/pushers", "v1")),
        ("GET", f"{ADMIN}/v1/whois/{user('alice')}"),
        ("GET", path("alice", "/devices")),
        ("GET", path("alice", "/devices/PHONE")),
        ("DELETE", path("alice", "/devices/PHONE")),
        ("POST", path("alice", "/delete_devices")),
        ("GET", f"{ADMIN}/v1/threepid/email/users/{MAIL}"),
        ("GET", f"{ADMIN}/v1/auth_providers/oidc/users/x"),
    )

    def test_administratorsAlone(self) -> None:
        """Nobody else gets an answer, or changes anything: no user, no guest, nobody without a
        token."""
        guest, before = self.guest()["access_token"], self.rows("SELECT * FROM users")
        for method, where in self.ALL:
            body = None if method in ("GET", "DELETE") else {"new_password": "x", "devices": []}
            for token, status in ((self.alice, 403), (guest, 403), ("nonsense", 401)):
                answer = self.ask(method, where, body, token)
                self.assertEqual(answer.status, status, (where, answer))
            answer = self.client.ask(method, where, body)
            self.assertRefused(answer, 401, "M_MISSING_TOKEN", where)
        self.assertEqual(self.rows("SELECT * FROM users"), before)

    def test_wrongUsers(self) -> None:
        """What is no user ID, or another server's, is 400; a user who is not here 404."""
        for method, where in self.ALL:
            if user("alice") not in where.replace("%40", "@").replace("%3A", ":"):
                continue
            body = None if method in ("GET", "DELETE") else {"new_password": "x", "devices": []}
            body = {**body, "admin": True} if body else body
            here = where.replace(quote(user("alice"), safe=""), user("alice"))
            for other, status in (("alice", 400), ("@alice:other.example", 400)):
                answer = self.ask(method, here.replace(user("alice"), other), body)
                self.assertRefused(answer, status, "M_INVALID_PARAM", (method, here))
            if (method, where) != ("PUT", path("alice")):
                answer = self.ask(method, here.replace(user("alice"), user("nobody")), body)
                self.assertRefused(answer, 404, "M_NOT_FOUND", (method, here))

    def test_browsers(self) -> None:
        """A page of another origin may call them, and is told so before."""
        answer = self.client.ask("OPTIONS", path("alice"))
        self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        self.assertIn("PUT", answer.headers["access-control-allow-methods"])

    def test_notOurs(self) -> None:
        """What a homeserver alone has is unknown here, to tools in words that they know."""
        for where in (
            path("alice", "/media", "v1"),
            path("alice", "/joined_rooms", "v1"),
            f"{ADMIN}/v1/rooms?from=0&limit=50",
            f"{ADMIN}/v1/event_reports",
            f"{ADMIN}/v1/statistics/users/media",
            f"{ADMIN}/v1/federation/destinations",
        ):
            self.assertRefused(self.ask("GET", where), 404, "M_UNRECOGNIZED", where)
        answer = self.client.get(f"{ADMIN}/v1/server_version")
        self.assertRegex(answer.json["server_version"], "^regsys ")


class ShowTests(AdminCase):
    def test_user(self) -> None:
        """All about an account, in the shape that tools know."""
        self.add_address(self.alice)
        self.change("INSERT INTO external_ids VALUES ('oidc', 'a-1', ?)", user("alice"))
        self.change("INSERT INTO consents VALUES (?, 'terms', '2', 7)", user("alice"))
        now_ms = self.now_ms
        shown = self.get(path("alice"))
        (threepid,) = shown.pop("threepids")
        self.assertEqual((threepid["medium"], threepid["address"]), ("email", MAIL))
        self.assertLessEqual({threepid["added_at"], threepid["validated_at"]}, {now_ms})
        self.assertEqual(
            shown,
            {
                "name": user("alice"),
                "displayname": "alice",
                "avatar_url": None,
                "is_guest": False,
                "admin": False,
                "deactivated": False,
                "erased": False,
                "shadow_banned": False,
                "approved": True,
                "locked": False,
                "suspended": False,
                "creation_ts": now_ms // 1000,
                "last_seen_ts": None,
                "appservice_id": None,
                "consent_server_notice_sent": None,
                "consent_version": "2",
                "consent_ts": 7,
                "external_ids": [{"auth_provider": "oidc", "external_id": "a-1"}],
                "user_type": None,
            },
        )

    def test_lookups(self) -> None:
        """Who has an address, in any spelling, or an id of another system."""
        self.add_address(self.alice)
        self.change("INSERT INTO external_ids VALUES ('oidc', 'a 1', ?)", user("alice"))
        for where in (
            f"{ADMIN}/v1/threepid/email/users/{quote(MAIL.upper())}",
            f"{ADMIN}/v1/auth_providers/oidc/users/a%201",
        ):
            self.assertEqual(self.get(where), {"user_id": user("alice")})
        for where in (
            f"{ADMIN}/v1/threepid/email/users/nobody@mail.example",
            f"{ADMIN}/v1/threepid/email/users/nonsense",
            f"{ADMIN}/v1/threepid/fax/users/1",
            f"{ADMIN}/v1/auth_providers/ldap/users/a%201",
        ):
            self.get(where, 404)

    def test_devices(self) -> None:
        """The devices of a user, one of them, and that no address is recorded."""
        self.register("carol", device_id="PHONE", initial_device_display_name="my phone")
        device = {
            "user_id": user("carol"),
            "device_id": "PHONE",
            "display_name": "my phone",
            "last_seen_ip": None,
            "last_seen_ts": None,
            "last_seen_user_agent": None,
        }
        listed = self.get(path("carol", "/devices?from=0&limit=50"))
        self.assertEqual(listed, {"devices": [device], "total": 1})
        self.assertEqual(self.get(path("carol", "/devices/PHONE")), device)
        self.get(path("carol", "/devices/TV"), 404)
        self.assertEqual(
            self.get(f"{ADMIN}/v1/whois/{user('carol')}"),
            {"user_id": user("carol"), "devices": {"": {"sessions": [{"connections": []}]}}},
        )
        pushers = self.get(path("carol", "/pushers?order_by=id", "v1"))
        self.assertEqual(pushers, {"pushers": [], "total": 0})


class ListTests(AdminCase):
    def setUp(self) -> None:
        super().setUp()
        self.clock.advance(1)
        self.guest_id = self.guest()["user_id"]
        self.put("zoe", {"displayname": "Alina", "user_type": "bot"}, 201)
        self.put("ex", {"deactivated": True}, 201)
        self.put("waits", {"approved": False}, 201)

    def names(self, query: str = "", version: str = "v2") -> list[str]:
        answer = self.get(f"{ADMIN}/{version}/users?{query}")
        found = [item["name"] for item in answer["users"]]
        self.assertEqual(answer["total"], len(found), answer)
        return [name[1:].partition(":")[0] for name in found]

    def test_filters(self) -> None:
        """Each filter chooses what its documentation says, of v2 and of v3."""
        guest = self.guest_id[1:].partition(":")[0]
        everybody = sorted([guest, "alice", "bob", "root", "waits", "zoe"])
        people = [name for name in everybody if name != guest]
        for query, expected in (
            ("", everybody),
            ("guests=false", people),
            ("guests=true", everybody),
            ("admins=true", ["root"]),
            ("admins=false&guests=false", ["alice", "bob", "waits", "zoe"]),
            ("deactivated=true&guests=false", ["alice", "bob", "ex", "root", "waits", "zoe"]),
            ("approved=false", ["waits"]),
            ("approved=true&guests=false", people),
            ("locked=true&guests=false", people),
            ("name=ALI", ["alice", "zoe"]),
            ("name=lin", ["zoe"]),
            ("name=b&user_id=alice", ["bob"]),
            ("user_id=%40ALI", ["alice"]),
            ("name=%25", []),
            ("user_id=_li", []),
            ("not_user_type=bot&guests=false", ["alice", "bob", "root", "waits"]),
            ("not_user_type=", ["zoe"]),
            ("not_user_type=bot&not_user_type=", []),
        ):
            self.assertEqual(self.names(query), expected, query)
        self.assertEqual(self.names("deactivated=true", "v3"), ["ex"])
        self.assertEqual(self.names("guests=false", "v3"), sorted([*people, "ex"]))
        self.assertEqual(self.names("deactivated=false&guests=false", "v3"), people)

    def test_orders(self) -> None:
        """Each order, both ways; those that are equal in it are in the order of their names."""
        for query, expected in (
            ("order_by=name&dir=b", ["zoe", "waits", "root", "bob", "alice"]),
            ("order_by=creation_ts", ["alice", "bob", "root", "waits", "zoe"]),
            ("order_by=creation_ts&dir=b", ["waits", "zoe", "alice", "bob", "root"]),
            ("order_by=displayname", ["zoe", "alice", "bob", "root", "waits"]),
            ("order_by=user_type&dir=b", ["zoe", "alice", "bob", "root", "waits"]),
            ("order_by=admin&dir=b", ["root", "alice", "bob", "waits", "zoe"]),
            ("order_by=avatar_url", ["alice", "bob", "root", "waits", "zoe"]),
        ):
            self.assertEqual(self.names(f"guests=false&{query}"), expected, query)
        for order in ("is_guest", "deactivated", "shadow_banned", "last_seen_ts", "locked"):
            self.assertEqual(len(self.names(f"guests=false&order_by={order}")), 5)

    def test_pages(self) -> None:
        """``next_token`` leads through all of them, and the last page has none."""
        found, token = [], "0"
        while token is not None:
            page = self.get(f"{ADMIN}/v2/users?guests=false&limit=2&from={token}")
            self.assertEqual(page["total"], 5)
            found += [item["name"] for item in page["users"]]
            token = page.get("next_token")
        self.assertEqual(found, [user(name) for name in ("alice", "bob", "root", "waits", "zoe")])
        beyond = self.get(f"{ADMIN}/v2/users?from=7&limit=1")
        self.assertEqual((beyond["users"], "next_token" in beyond), ([], False))
        nothing = self.get(f"{ADMIN}/v2/users?limit=0")
        self.assertEqual((nothing["users"], nothing["next_token"]), ([], "0"))
        (first, *_) = self.get(f"{ADMIN}/v3/users?limit=1")["users"]
        self.assertEqual(first["creation_ts"] % 1000, 0)
        self.assertEqual({"name", "locked", "approved"} - first.keys(), set())

    def test_wrongQueries(self) -> None:
        """A query that makes no sense is 400, and names the parameter."""
        for query in (
            *("limit=-1", "limit=x", "limit=1e3", "limit=99999999999999999999", "from=-1"),
            *("order_by=password_hash", "dir=up", "guests=1", "deactivated=x", "admins=x"),
            *("approved=x", "locked=x", "name=%ff", "name=a%00", "not_user_type=%ff"),
        ):
            for version in ("v2", "v3"):
                answer = self.ask("GET", f"{ADMIN}/{version}/users?{query}")
                self.assertRefused(answer, 400, "M_INVALID_PARAM", query)
                self.assertIn(f"'{query.partition('=')[0]}'", answer.json["error"])


class PutTests(AdminCase):
    def test_new(self) -> None:
        """A user who is not here is made, 201; the password works, and the address is theirs."""
        made = self.put(
            "carol",
            {
                "password": "another horse",
                "displayname": "Carol",
                "threepids": [{"medium": "email", "address": "Carol@Mail.example"}],
                "external_ids": [{"auth_provider": "oidc", "external_id": "c"}],
                "user_type": "employee",
                "admin": True,
            },
            201,
        )
        self.assertEqual((made["displayname"], made["admin"]), ("Carol", True))
        self.assertEqual(made["user_type"], "employee")
        self.assertEqual([item["address"] for item in made["threepids"]], ["carol@mail.example"])
        self.assertEqual(made["external_ids"][0]["external_id"], "c")
        self.assertEqual(self.log_in("carol", "another horse").status, 200)
        self.assertEqual(self.put("dave", {}, 201)["displayname"], "dave")

    def test_newRefused(self) -> None:
        """A name is checked as an administrator's is, and an address belongs to one account."""
        self.add_address(self.alice)
        answer = self.ask("PUT", path("Carol"), {})
        self.assertRefused(answer, 400, "M_INVALID_USERNAME")
        taken = {"threepids": [{"medium": "email", "address": MAIL}]}
        for name in ("carol", "bob"):
            answer = self.ask("PUT", path(name), {**taken, "admin": True})
            self.assertRefused(answer, 400, "M_THREEPID_IN_USE")
        self.assertEqual(self.rows("SELECT COUNT(*) FROM users WHERE admin")[0][0], 1)
        self.assertEqual(self.counts()["users"], 3)

    def test_onlyWhatDiffers(self) -> None:
        """What was shown is sent back with one change: nothing else happens."""
        self.add_address(self.alice)
        shown = {**SHOWN, **self.get(path("alice"))}
        before = [self.rows(f"SELECT * FROM {table}") for table in ("threepids", "devices")]
        after = self.put("alice", {**shown, "displayname": "Alice B."})
        self.assertEqual(after["displayname"], "Alice B.")
        self.assertEqual({**shown, **after}, {**shown, "displayname": "Alice B."})
        now = [self.rows(f"SELECT * FROM {table}") for table in ("threepids", "devices")]
        self.assertEqual(now, before)
        self.assertEqual(self.whoami(self.alice).status, 200)
        self.assertIsNone(self.put("alice", {"displayname": ""})["displayname"])

    def test_password(self) -> None:
        """A new password logs the user out, unless it says otherwise; the old one is dead."""
        self.put("alice", {"password": "another horse", "logout_devices": False})
        self.assertEqual(self.whoami(self.alice).status, 200)
        self.assertEqual(self.log_in("alice", PASSWORD).status, 403)
        token = self.log_in("alice", "another horse").json["access_token"]
        self.put("alice", {"password": "third horse"})
        for each in (self.alice, token):
            self.assertRefused(self.whoami(each), 401, "M_UNKNOWN_TOKEN")
        self.assertEqual(self.log_in("alice", "third horse").status, 200)
        # An administrator's own device stays.
        self.put("root", {"password": "fourth horse"})
        self.assertEqual(self.whoami(self.root).status, 200)

    def test_threepids(self) -> None:
        """The list replaces all addresses; one that is removed is free."""
        self.add_address(self.alice)
        phone = {"medium": "msisdn", "address": "4915112345678"}
        after = self.put("alice", {"threepids": [phone]})
        self.assertEqual([item["address"] for item in after["threepids"]], [phone["address"]])
        self.put("bob", {"threepids": [{"medium": "email", "address": MAIL}, phone | {"x": 1}][:1]})
        self.assertEqual(self.put("alice", {"threepids": []})["threepids"], [])
        self.assertEqual(self.addresses_of(self.bob), [MAIL])

    def test_externalIds(self) -> None:
        """The list replaces all ids; one of another account's is 409, and nothing is changed."""
        ids = [{"auth_provider": "oidc", "external_id": str(number)} for number in range(3)]
        self.put("alice", {"external_ids": ids[:2]})
        after = self.put("alice", {"external_ids": ids[1:]})
        self.assertEqual(after["external_ids"], ids[1:])
        answer = self.ask("PUT", path("bob"), {"external_ids": ids[1:2], "displayname": "B"})
        self.assertEqual(answer.status, 409, answer)
        self.assertEqual(self.get(path("bob"))["displayname"], "bob")

    def test_approval(self) -> None:
        """An account that waits cannot log in until it is approved."""
        self.put("carol", {"password": PASSWORD, "approved": False}, 201)
        self.assertEqual(self.log_in("carol", PASSWORD).status, 403)
        self.assertTrue(self.put("carol", {"approved": True})["approved"])
        self.assertEqual(self.log_in("carol", PASSWORD).status, 200)
        carol = UserID("carol", "test.example")
        decided = self.wait(self.subsystem.administration.approvals.decided(carol))
        self.assertEqual((decided.decision, decided.by), ("approved", "@root:test.example"))
        self.assertFalse(self.put("carol", {"approved": False})["approved"])
        self.assertIsNone(self.wait(self.subsystem.administration.approvals.decided(carol)))

    def test_deactivation(self) -> None:
        """It ends the account, as often as it is asked for, and for good."""
        self.add_address(self.alice)
        after = self.put("alice", {"deactivated": True})
        self.assertEqual((after["deactivated"], after["threepids"]), (True, []))
        self.assertEqual(self.whoami(self.alice).status, 401)
        self.put("alice", {"deactivated": True, "displayname": "alice"})
        for body, status in (
            ({"deactivated": False}, 400),
            ({"admin": True}, 403),
            ({"password": "x"}, 403),
            ({"threepids": [{"medium": "email", "address": MAIL}]}, 403),
        ):
            self.assertEqual(self.ask("PUT", path("alice"), body).status, status, body)

    def test_guests(self) -> None:
        """A guest gets nothing that makes a user of it."""
        name = self.guest()["user_id"][1:].partition(":")[0]
        for body in (
            {"password": "x"},
            {"admin": True},
            {"external_ids": [{"auth_provider": "a", "external_id": "b"}]},
            {"threepids": [{"medium": "email", "address": MAIL}]},
        ):
            answer = self.ask("PUT", path(name), body)
            self.assertIn(answer.status, (400, 403), (body, answer))
        self.assertEqual(self.rows("SELECT COUNT(*) FROM threepids")[0][0], 0)
        answer = self.ask("DELETE", path(name, "/devices/guest_device"))
        self.assertRefused(answer, 403, "M_GUEST_ACCESS_FORBIDDEN")

    def test_wrongBodies(self) -> None:
        """What has the wrong type, or is not known here, is 400, and nothing is changed."""
        before = self.get(path("alice"))
        for body in (
            *({key: "x"} for key in ("admin", "deactivated", "approved", "locked", "threepids")),
            *({key: 5} for key in ("password", "displayname", "user_type", "avatar_url")),
            {"password": ""},
            {"password": "x" * 513},
            {"displayname": "x" * 257},
            {"user_type": "ghost"},
            {"locked": True},
            {"avatar_url": "mxc://a/b"},
            {"logout_devices": 1},
            {"threepids": [{}]},
            {"threepids": ["x"]},
            {"threepids": [{"medium": "fax", "address": "1"}]},
            {"threepids": [{"medium": "email", "address": "nonsense"}]},
            {"threepids": [{"medium": "email", "address": f"{n}@a.example"} for n in range(51)]},
            {"external_ids": [{"auth_provider": "a"}]},
            {"external_ids": [{"auth_provider": "", "external_id": "b"}]},
            [],
        ):
            more = {"displayname": "changed", **body} if isinstance(body, dict) else body
            answer = self.ask("PUT", path("alice"), more)
            self.assertEqual(answer.status, 400, (body, answer))
        self.assertEqual(self.get(path("alice")), before)
        answer = self.ask("PUT", path("root"), {"admin": False, "displayname": "changed"})
        self.assertRefused(answer, 400, "M_INVALID_PARAM")
        self.assertTrue(self.get(path("root"))["admin"])


class ActionTests(AdminCase):
    def test_deactivate(self) -> None:
        """With the wish to erase the display name is removed; an empty body means none."""
        for name, body in (("bob", None), ("alice", {"erase": True})):
            answer = self.ask("POST", f"{ADMIN}/v1/deactivate/{user(name)}", body)
            self.assertEqual((answer.status, *answer.json), (200, "id_server_unbind_result"))
            shown = self.get(path(name))
            self.assertEqual((shown["deactivated"], shown["erased"]), (True, bool(body)))
            self.assertEqual(shown["displayname"], None if body else name)
        self.assertEqual(self.whoami(self.alice).status, 401)

    def test_resetPassword(self) -> None:
        """As synadm and synapse-admin reset one."""
        where = f"{ADMIN}/v1/reset_password/{user('alice')}"
        body = {"new_password": "another horse", "logout_devices": False}
        self.assertEqual(self.ask("POST", where, body).json, {})
        self.assertEqual(self.whoami(self.alice).status, 200)
        self.assertEqual(self.ask("POST", where, {"new_password": "third horse"}).json, {})
        self.assertEqual(self.whoami(self.alice).status, 401)
        self.assertEqual(self.log_in("alice", "third horse").status, 200)
        for body, code in (({}, "M_MISSING_PARAM"), ({"new_password": 7}, "M_BAD_JSON")):
            self.assertRefused(self.ask("POST", where, body), 400, code)
        self.assertRefused(self.ask("POST", where, {"new_password": ""}), 400, "M_INVALID_PARAM")

    def test_rights(self) -> None:
        """Administrators make others so, and end that; nobody ends their own."""
        where = path("alice", "/admin", "v1")
        self.assertEqual(self.get(where), {"admin": False})
        self.assertEqual(self.ask("PUT", where, {"admin": True}).json, {})
        self.assertEqual(self.ask("GET", where, token=self.alice).json, {"admin": True})
        self.assertEqual(self.ask("PUT", where, {"admin": False}).json, {})
        self.assertEqual(self.ask("GET", where, token=self.alice).status, 403)
        own = self.ask("PUT", path("root", "/admin", "v1"), {"admin": False})
        self.assertRefused(own, 400, "M_INVALID_PARAM")
        self.assertRefused(self.ask("PUT", where, {}), 400, "M_MISSING_PARAM")
        self.assertRefused(self.ask("PUT", where, {"admin": "x"}), 400, "M_BAD_JSON")

    def test_devices(self) -> None:
        """A device that is deleted is logged out; one that is not there is no error."""
        self.register("carol", device_id="A")
        tokens = {name: self.log_in("carol", PASSWORD).json for name in ("B", "C")}
        b, c = (tokens[name] for name in ("B", "C"))
        for _ in range(2):
            answer = self.ask("DELETE", path("carol", f"/devices/{b['device_id']}"), {})
            self.assertEqual((answer.status, answer.json), (200, {}))
        self.assertEqual(self.whoami(b["access_token"]).status, 401)
        where = path("carol", "/delete_devices")
        self.assertEqual(self.ask("POST", where, {"devices": ["A", "nobody's"]}).json, {})
        devices = self.get(path("carol", "/devices"))["devices"]
        self.assertEqual([item["device_id"] for item in devices], [c["device_id"]])
        self.assertRefused(self.ask("POST", where, {}), 400, "M_MISSING_PARAM")
        for wrong in ("A", [1], {}):
            self.assertRefused(self.ask("POST", where, {"devices": wrong}), 400, "M_BAD_JSON")


class ElsewhereTests(AccountCase):
    def test_asAuthService(self) -> None:
        """Where regsys is a Synapse's auth service, that answers for its accounts itself."""
        self.system(
            matrix_authentication_service={"enabled": True, "secret": "x"},
            regsys={"homeserver": {"url": "http://hs.example", "delegated": True}},
        )
        self.assertEqual({it for it in self.subsystem.endpoints if it.startswith("admin_")}, set())
        self.assertIsNotNone(self.subsystem.administration)


class WithoutPasswordsTests(AdminCase):
    def test_refused(self) -> None:
        """Where no password of ours counts, no account gets one, and none is made with one."""
        self.system(database=self.database, password_config={"localdb_enabled": False})
        for name in ("alice", "carol"):
            answer = self.ask("PUT", path(name), {"password": "x", "displayname": "changed"})
            self.assertRefused(answer, 403, "M_FORBIDDEN")
        where = f"{ADMIN}/v1/reset_password/{user('alice')}"
        self.assertRefused(self.ask("POST", where, {"new_password": "x"}), 403, "M_FORBIDDEN")
        self.assertEqual(self.get(path("alice"))["displayname"], "alice")
        self.get(path("carol"), 404)
