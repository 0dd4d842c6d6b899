"""Hostile input to what the auth service of a homeserver serves besides: nothing fails, no secret
leaks, and guesses are limited (threats A1, A20, B6)."""

from __future__ import annotations

import itertools
from typing import Any, Mapping
from urllib.parse import urlencode

from hypothesis import given

from regsys import http
from tests.accounts.test_delegation import PASSWORD_AUTH, DelegatedCase
from tests.doubles.synapse import AS_TOKEN, HANG_UP, INSTEAD, SECRET
from tests.http.wire import Wire
from tests.support.case import DUMMY, PASSWORD
from tests.support.client import V3, Answer
from tests.support.log_canaries import watch_for_leaks
from tests.support.mutated_requests import DELEGATED, PAGE, PLACEHOLDERS, Request, requests
from tests.support.scale import examples
from tests.web.test_fallback import HOSTILE
from tests.web.test_page_headers import METHODS, SafePages

NEW = "another-canary"
CALLS = (
    "is_localpart_available",
    "provision_user",
    "upsert_device",
    "delete_device",
    "delete_user",
)


class FuzzTests(DelegatedCase):
    def setUp(self) -> None:
        super().setUp()
        self.resource = self.subsystem.resource(client_address=http.first_forwarded)
        self.numbers = itertools.count()
        self.live = self.newcomers()

    def newcomers(self) -> Mapping[str, str]:
        user = f"user{next(self.numbers)}"
        made = self.register(user, refresh_token=True, device_id="PHONE")
        known = {"<user>": user, "<new name>": f"new{user}", "<access>": made["access_token"]}
        known["<refresh>"] = made["refresh_token"]
        return {mark: known.get(mark, "lost") for mark in PLACEHOLDERS}

    def send(self, request: Request) -> int:
        """The status of the answer."""
        wire = Wire(self.resource)
        answer = wire.send(request.encoded(self.live))
        while not answer:
            self.settle()
            answer = wire.received()
        return int(answer.split()[1])

    @examples(300)
    @given(requests(DELEGATED))
    def test_requests(self, request: Request) -> None:
        """Every request is answered as a successful one, or refused."""
        status = self.send(request)
        self.settle()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertLess(status, 500)
        if status < 400 and request.method not in ("GET", "HEAD", "OPTIONS"):
            self.live = self.newcomers()


class PageTests(SafePages, DelegatedCase):
    def test_walk(self) -> None:
        """The account page has all headers of a page, whatever is sent to it, and shows it as
        text."""
        self.register()
        statuses = set()
        forms = ({}, {"user": HOSTILE}, {"user": HOSTILE, "password": HOSTILE}, {"user": "\0"})
        for method, query, form in itertools.product(METHODS, ("", f"?action={HOSTILE}"), forms):
            path = PAGE + query.replace(" ", "+")
            answer = self.client.ask(method, path, urlencode(form).encode())
            statuses.add(answer.status)
            if method in ("GET", "POST"):
                self.assertSafe((method, path, form), answer)
        self.assertEqual(statuses, {200, 400, 403, 405})


class LimitTests(DelegatedCase):
    """``rc_login`` counts guesses wherever a password is asked for."""

    def setUp(self) -> None:
        super().setUp()
        self.token = self.register()["access_token"]
        few = {"per_second": 0.001, "burst_count": 2}
        many = {"per_second": 1000, "burst_count": 1000}
        limits = {"address": many, "account": many, "failed_attempts": few}
        self.restart(rc_login=limits)

    def deactivate(self, password: str) -> Answer:
        auth = {**PASSWORD_AUTH, "password": password}
        return self.client.post(f"{V3}/account/deactivate", {"auth": auth}, token=self.token)

    def page(self, password: str) -> Answer:
        form = urlencode({"user": "alice", "password": password}).encode()
        return self.client.ask("POST", PAGE, form)

    def test_guesses(self) -> None:
        """After two wrong passwords, one at the account page and one for a deactivation, the right
        one is not even looked at: neither there nor anywhere else."""
        self.assertEqual(self.page("wrong").status, 403)
        self.assertEqual(self.deactivate("wrong").status, 401)
        refused = self.page(PASSWORD)
        self.assertEqual((refused.status, self.double.users["alice"].may_reset), (429, False))
        self.assertIn("retry-after", refused.headers)
        self.assertIn(b"<!doctype html>", refused.json.lower())
        self.assertRefused(self.deactivate(PASSWORD), 429, "M_LIMIT_EXCEEDED")
        self.assertRefused(self.log_in(), 429, "M_LIMIT_EXCEEDED")
        self.assertFalse(self.double.users["alice"].deactivated)

    def test_addresses(self) -> None:
        """Guesses at many accounts from one address are limited, too."""
        few = {"per_second": 0.001, "burst_count": 3}
        self.restart(rc_login={"address": few})
        forms = [urlencode({"user": f"u{n}", "password": "x"}).encode() for n in range(5)]
        statuses = [self.client.ask("POST", PAGE, form).status for form in forms]
        self.assertEqual(statuses, [403, 403, 403, 429, 429])


class LeakTests(DelegatedCase):
    def test_everything(self) -> None:
        """An account's life with wrong secrets, wrong passwords and a homeserver that fails in all
        ways: neither the log nor an answer has a secret in it."""
        secrets = {"the secret": SECRET, "the password": PASSWORD, "a new password": NEW}
        canaries = watch_for_leaks(self, secrets)

        def ask(method: str, path: str, body: Any = None, **more: Any) -> Answer:
            answer = self.client.ask(method, path, body, **more)
            self.settle()
            giving = path in (f"{V3}/register", f"{V3}/login") and answer.status == 200
            canaries.check(f"{method} {path}", f"{answer}", tokens_expected=giving)
            return answer

        for number, fault in enumerate((None, HANG_UP, *INSTEAD)):
            for call in () if fault is None else (*CALLS, "capabilities"):
                self.double.faults[call] = [fault]
            name = f"user{number}"
            own = {**PASSWORD_AUTH, "identifier": {"type": "m.id.user", "user": name}}
            body = {"username": name, "password": PASSWORD}
            session = None
            for _ in CALLS:  # of which each may fail once
                auth = {} if session is None else {"auth": {**DUMMY, "session": session}}
                made = ask("POST", f"{V3}/register", {**body, **auth})
                session = made.json.get("session", session)
                if made.status == 200:
                    break
            token = made.json.get("access_token", "syt_a_lost_one")
            for secret in (SECRET, f"{SECRET}x", None, token):
                form = f"token={token}".encode()
                ask("POST", "/oauth2/introspect", form, token=secret)
                ask("POST", "/oauth2/introspect", f"tokens={SECRET}".encode(), token=secret)
            ask("POST", f"{V3}/login", {**own, "password": f"{PASSWORD}x"})
            ask("POST", f"{V3}/login", own)
            ask("GET", f"{V3}/capabilities", token=token)
            ask("POST", f"{V3}/register", {"type": "x", "username": SECRET}, token=SECRET)
            ghost = {"type": "m.login.application_service", "username": PASSWORD}
            ask("POST", f"{V3}/register", ghost, token=SECRET)
            ask("POST", f"{V3}/register", ghost, token=AS_TOKEN)
            for password in (f"{PASSWORD}x", PASSWORD):
                ask("POST", PAGE, urlencode({"user": name, "password": password}).encode())
            change = {"new_password": NEW, "auth": own}
            changed = ask("POST", f"{V3}/account/password", change, token=token)
            own = {**own, "password": NEW}
            ended = ask("POST", f"{V3}/account/deactivate", {"auth": own}, token=token)
            self.assertEqual((made.status, changed.status, ended.status), (200, 200, 200), fault)
            self.later()
        self.assertGreater(canaries.event_count, 3)
