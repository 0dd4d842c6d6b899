"""What synapse-admin, a web application for administrators, sends: the requests of its pages for
users and registration tokens, as its source has them, and what it takes from the answers."""

from __future__ import annotations

from typing import Any

from tests.support.case import PASSWORD
from tests.support.client import V3
from tests.web.test_admin_users import ADMIN, AdminCase, path, user

PAGE = "from=0&limit=50&order_by={}&dir={}"
# What it shows of a user in its list.
COLUMNS = {"name", "displayname", "avatar_url", "is_guest", "admin", "deactivated", "creation_ts"}


class SynapseAdminTests(AdminCase):
    def test_login(self) -> None:
        """It asks for the version, the ways to log in and the versions before anybody has logged
        in, then logs in by the old path, and out."""
        for where, key in (
            (f"{ADMIN}/v1/server_version", "server_version"),
            ("/_matrix/client/r0/login", "flows"),
            ("/_matrix/client/versions", "versions"),
        ):
            answer = self.client.get(where)
            self.assertIn(key, answer.json)
            self.assertEqual(answer.headers["access-control-allow-origin"], "*")
        body = {
            "device_id": None,
            "initial_device_display_name": "Synapse Admin",
            "type": "m.login.password",
            "identifier": {"type": "m.id.user", "user": "root"},
            "password": PASSWORD,
        }
        answer = self.client.post("/_matrix/client/r0/login", body)
        self.assertEqual(answer.json["home_server"], "test.example")
        token = answer.json["access_token"]
        answer = self.client.post("/_matrix/client/r0/logout", token=token)
        self.assertEqual(answer.status, 200)

    def test_list(self) -> None:
        """Its list, with each of its filters and sorted by each of its columns."""
        filters = "&guests=true&deactivated=false&locked=false"
        shown = self.get(f"{ADMIN}/v2/users?{PAGE.format('name', 'f')}{filters}")
        self.assertEqual(shown["total"], 3)
        self.assertEqual(COLUMNS - shown["users"][0].keys(), set())
        for column in ("displayname", "is_guest", "admin", "deactivated", "creation_ts", "locked"):
            query = f"{PAGE.format(column, 'b')}&name=ali{filters}"
            (found,) = self.get(f"{ADMIN}/v2/users?{query}")["users"]
            self.assertEqual(found["name"], user("alice"), column)

    def test_page(self) -> None:
        """The page of a user: each of its tabs is answered, those that a homeserver alone has as
        unknown."""
        self.get(path("alice"))
        self.get(f"{ADMIN}/v1/whois/{user('alice')}")
        devices = self.get(path("alice", f"/devices?{PAGE.format('id', 'f')}"))
        self.assertEqual(devices["total"], 1)
        self.get(path("alice", f"/pushers?{PAGE.format('id', 'f')}", "v1"))
        for tab in ("media", "joined_rooms", "accountdata", "override_ratelimit"):
            self.get(path("alice", f"/{tab}?{PAGE.format('id', 'f')}", "v1"), 404)
        device_id = devices["devices"][0]["device_id"]
        answer = self.ask("DELETE", path("alice", f"/devices/{device_id}"))
        self.assertEqual((answer.status, answer.json), (200, {}))

    def edited(self, name: str, **changed: Any) -> Any:
        """What it sends after an edit: all that it was shown, without nulls but the user type, with
        fields of its own, and what was changed."""
        shown = self.get(path(name))
        own = {"id": user(name), "creation_ts_ms": shown["creation_ts"] * 1000}
        body = {**shown, **own, **changed}
        return {key: it for key, it in body.items() if it is not None or key == "user_type"}

    def test_edit(self) -> None:
        """Each edit changes what was changed, and nothing else."""
        before = self.get(path("alice"))
        threepids = [{"medium": "email", "address": "a@mail.example"}]
        after = self.put("alice", self.edited("alice", displayname="A", threepids=threepids))
        self.assertEqual(after["threepids"][0]["address"], "a@mail.example")
        added = {"displayname": "A", "threepids": after["threepids"]}
        self.assertEqual(after, {**before, **added})
        self.assertEqual(self.put("alice", self.edited("alice")), after)
        self.assertTrue(self.put("alice", self.edited("alice", admin=True))["admin"])
        self.assertEqual(self.whoami(self.alice).status, 200)
        self.put("alice", self.edited("alice", password="another horse"))
        self.assertEqual(self.whoami(self.alice).status, 401)

    def test_create(self) -> None:
        """A new user, and a file of users; those that are there are changed."""
        body = {"id": user("carol"), "password": "a horse", "displayname": "Carol", "admin": False}
        self.put("carol", {**body, "user_type": None, "threepids": []}, 201)
        self.assertEqual(self.log_in("carol", "a horse").status, 200)
        row = {"id": "x", "is_guest": False, "deactivated": False, "name": "y", "displayname": "D"}
        for name, status in (("carol", 200), ("dave", 201)):
            self.assertEqual(self.put(name, row, status)["displayname"], "D")

    def test_delete(self) -> None:
        """What it calls deleting is a deactivation that erases."""
        where = f"{ADMIN}/v1/deactivate/%40alice%3Atest.example"
        self.assertEqual(self.ask("POST", where, {"erase": True}).status, 200)
        self.assertTrue(self.get(path("alice"))["erased"])
        body = {"type": "m.login.password", "user": "alice", "password": PASSWORD}
        self.assertEqual(self.client.post(f"{V3}/login", body).status, 403)

    def test_registrationTokens(self) -> None:
        """Its page of registration tokens."""
        where = f"{ADMIN}/v1/registration_tokens"
        made = self.ask("POST", f"{where}/new", {"token": "word", "uses_allowed": 3})
        self.assertEqual(made.json["token"], "word")
        listed = self.get(f"{where}?{PAGE.format('token', 'f')}&valid=true")
        self.assertEqual([it["token"] for it in listed["registration_tokens"]], ["word"])
        shown = self.get(f"{where}/word")
        changed = self.ask("PUT", f"{where}/word", {**shown, "id": "word", "uses_allowed": 5})
        self.assertEqual(changed.json["uses_allowed"], 5)
        self.assertEqual(self.ask("DELETE", f"{where}/word").json, {})
