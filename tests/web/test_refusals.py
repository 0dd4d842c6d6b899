"""The reasons of refusals in the log."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping

from twisted.logger import capturedLogs, eventAsText

from regsys.interfaces import Verdict
from tests.support.case import DUMMY, PASSWORD, UIASessionCase
from tests.support.client import V3


class RefusalTests(UIASessionCase):
    options: ClassVar[Mapping[str, Any]] = {"registration_requires_token": True}

    def refusal_line(self, path: str, body: Any, **headers: str) -> str:
        """The log line of one refused request."""
        with capturedLogs() as events:
            self.client.post(f"{V3}/{path}", body, X_Forwarded_For="192.0.2.7", **headers)
        lines = [eventAsText(event) for event in events]
        (line,) = [line for line in lines if "refused" in line]
        return line

    def test_registration(self) -> None:
        """A wrong token, a taken name and a weak password are each logged with the reason."""
        session = self.begin()
        auth = {"type": "m.login.registration_token", "token": "canary", "session": session}
        line = self.refusal_line("register", {"auth": auth})
        for part in ("192.0.2.7", "M_UNAUTHORIZED", f"session {session[:6]})", auth["type"]):
            self.assertIn(part, line)
        self.assertNotIn(session, line)
        self.assertNotIn("canary", line)
        self.assertIn("M_INVALID_USERNAME", self.refusal_line("register", {"username": "Ü"}))
        self.assertIn("M_NOT_JSON", self.refusal_line("register", b"{"))

    def test_login(self) -> None:
        """So is a login, without the name or the password."""
        body = {"type": "m.login.password", "user": "nobody", "password": PASSWORD}
        line = self.refusal_line("login", body)
        self.assertIn("403 M_FORBIDDEN", line)
        self.assertNotIn("nobody", line)
        self.assertNotIn(PASSWORD, line)

    def test_page(self) -> None:
        """A form that is shown again is logged with the reason."""
        session = self.begin()
        form = f"session={session}&token=canary".encode()
        line = self.refusal_line("auth/m.login.registration_token/fallback/web", form)
        self.assertIn("200 M_UNAUTHORIZED: ", line)
        self.assertIn(f"(stage m.login.registration_token, session {session[:6]})", line)
        line = self.refusal_line(
            "auth/m.login.registration_token/fallback/web?session=none", b"token=x"
        )
        self.assertIn("session is unknown", line)

    def test_spam(self) -> None:
        """A spam checker's refusal looks like a limit to the client, and is distinguished in the
        log."""

        async def deny(*_: Any) -> Verdict:
            return Verdict.DENY

        self.system()
        self.subsystem.hooks.spam.register("tests", deny)
        line = self.refusal_line(
            "register", {"username": "bob", "password": PASSWORD, "auth": DUMMY}
        )
        self.assertIn("429 M_LIMIT_EXCEEDED: a spam checker denied it", line)
