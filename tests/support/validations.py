"""Helpers for tests that validate email addresses."""

from __future__ import annotations

from typing import Any, ClassVar, Mapping
from urllib.parse import parse_qs, urlsplit

from regsys.model import ValidationMail
from regsys.testing import MemoryMails
from tests.support.case import UIASessionCase
from tests.support.client import V3, Answer

STAGE = "m.login.email.identity"
REQUEST = f"{V3}/register/email/requestToken"
SUBMIT = "/_matrix/client/unstable/registration/email/submit_token"
ADD_SUBMIT = SUBMIT.replace("registration", "add_threepid")
ALICE = "alice@mail.example"
SECRET = "client.secret"
PLENTY = {"per_second": 1000, "burst_count": 1000}
MAILS = {"email": {"notif_from": "server@test.example"}, "rc_3pid_validation": PLENTY}


class EmailValidationCase(UIASessionCase):
    """A server whose mails are kept in ``self.mails``; ``options`` beside those of mails."""

    options: ClassVar[Mapping[str, Any]] = {"registrations_require_3pid": ["email"]}

    def setUp(self) -> None:
        self.mails = MemoryMails()
        super().setUp()

    def system(self, **options: Any) -> None:
        options.setdefault("hooks", self.hooks(mails=self.mails))
        super().system(**{**MAILS, **options})

    # --- Requesting and receiving a token ------------------------------------------------

    def request_token(self, email: Any = ALICE, attempt: Any = 1, **more: Any) -> Answer:
        body = {"email": email, "client_secret": SECRET, "send_attempt": attempt, **more}
        return self.client.post(REQUEST, body)

    def start_validation(self, email: str = ALICE, attempt: int = 1, **more: Any) -> str:
        """Request a token; the sid of the validation session."""
        answer = self.request_token(email, attempt, **more)
        self.assertEqual((answer.status, answer.json.keys()), (200, {"sid"}), answer)
        sid = answer.json["sid"]
        assert isinstance(sid, str)
        return sid

    @property
    def mail(self) -> ValidationMail:
        """The last mail."""
        return self.mails.sent[-1]

    def link(self, number: int = -1, path: str = SUBMIT) -> dict[str, str]:
        """The parameters of a mail's link."""
        link = self.mails.sent[number].link
        assert link is not None
        parts = urlsplit(link)
        self.assertEqual((parts.netloc, parts.path), ("test.example", path))
        return {name: values[0] for name, values in parse_qs(parts.query).items()}

    def submit(self, **fields: Any) -> Answer:
        return self.client.post(SUBMIT, fields)

    def validate_address(self, email: str = ALICE, **more: Any) -> str:
        """Validate an address; the sid."""
        sid = self.start_validation(email, **more)
        answer = self.submit(**self.link())
        self.assertEqual((answer.status, answer.json), (200, {"success": True}), answer)
        return sid

    # --- Registering with the address ----------------------------------------------------

    def present(self, session: str, sid: Any, secret: Any = SECRET, **body: Any) -> Answer:
        """Try the stage in this session."""
        stage = {"type": STAGE, "threepid_creds": {"sid": sid, "client_secret": secret}}
        return self.go_on(session, stage, **body)

    def register_with_address(self, email: str = ALICE, name: str = "owner") -> None:
        """Register an account with this address."""
        sid = self.validate_address(email, client_secret=f"of-{name}")
        answer = self.present(self.begin(name), sid, f"of-{name}")
        self.assertRegistered(answer, name)

    def owners(self) -> dict[str, str]:
        """The user of each address."""
        return dict(self.rows("SELECT address, user_id FROM threepids WHERE medium = 'email'"))
