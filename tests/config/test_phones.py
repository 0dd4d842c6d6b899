"""Which server validates phone numbers."""

from __future__ import annotations

from typing import Any

from regsys.config.phones import SmsConfig
from regsys.model import Secret
from tests.config.case import ConfigCase

DELEGATE = {"account_threepid_delegates": {"msisdn": "https://id.example/"}}

GATEWAY: dict[str, Any] = {
    "url": "https://sms.example/send",
    "as_form": True,
    "authorization": Secret("Bearer x"),
}


class PhonesTests(ConfigCase):
    def test_identityServer(self) -> None:
        """With an identity server numbers are offered, unless they are switched off."""
        config = self.parse(DELEGATE)
        self.assertEqual(config.phones.identity_server, "https://id.example")
        self.assertEqual((config.threepids.offered, config.unused), ({"msisdn"}, ()))
        off = self.parse({**DELEGATE, "disable_msisdn_registration": True})
        self.assertEqual(off.threepids.offered, frozenset())

    def test_required(self) -> None:
        """Numbers may be required if a server can validate them."""
        required = {"registrations_require_3pid": ["msisdn"], "enable_registration": True}
        self.assertEqual(self.parse({**required, **DELEGATE}).threepids.required, {"msisdn"})

    def test_nobody(self) -> None:
        for nothing in (None, {}, {"msisdn": None}, {"msisdn": ""}, {"email": None}):
            config = self.parse({"account_threepid_delegates": nothing})
            self.assertFalse(config.phones.can_validate, nothing)

    def test_refused(self) -> None:
        """No other server can validate mails, and an invalid URL is refused."""
        name = "account_threepid_delegates"
        for value, part in (
            ({"email": "https://id.example"}, ".email: no other server"),
            ({"msisdn": "id.example"}, ".msisdn: not the address of a website"),
            ({"msisdn": "https://id.example/?a"}, ".msisdn: not the address"),
            ({"msisdn": 5}, ".msisdn: not text"),
        ):
            self.assertProblem({name: value}, f"{name}{part}")

    # --- Codes of our own ----------------------------------------------------------------

    def sms(self, **options: Any) -> dict[str, Any]:
        return {"regsys": {"sms": {"url": "https://sms.example/send", **options}}}

    def test_gateway(self) -> None:
        """With a gateway, or an embedder's sender, numbers are offered."""
        config = self.parse(self.sms(authorization="Bearer x", format="form"))
        assert config.phones.sms is not None
        self.assertEqual(config.phones.sms, SmsConfig(**GATEWAY))
        self.assertEqual(config.threepids.offered, {"msisdn"})
        embedded = self.parse({"regsys": {"sms": {"enabled": True}}})
        self.assertEqual(embedded.phones.sms, SmsConfig())
        self.assertIsNone(self.parse({"regsys": {"sms": {"format": "form"}}}).phones.sms)
        self.assertIsNone(self.parse(self.sms(enabled=False)).phones.sms)

    def test_fields(self) -> None:
        """JSON may nest; all texts in it are templates."""
        nested = {"a": [{"to": "%(number)s"}, 5, None], "b": {"c": "50%% %(text)s"}}
        config = self.parse(self.sms(fields=nested))
        assert config.phones.sms is not None
        self.assertEqual(config.phones.sms.fields, nested)

    def test_gatewayRefused(self) -> None:
        good = {"to": "%(number)s", "text": "%(text)s"}
        for options, part in (
            ({"url": "sms.example"}, ".url: not the address"),
            ({"format": "xml"}, ".format: not known here"),
            ({"fields": {"to": "%(number)s"}}, ".fields: lacks"),
            ({"fields": {**good, "a": "%(code)s"}}, ".fields: has an unknown %"),
            ({"fields": {**good, "a": "100%"}}, ".fields: has an unknown %"),
            ({"fields": []}, ".fields: not a mapping"),
            ({"fields": {}}, ".fields: not a mapping"),
            ({"fields": {**good, "a": [1]}, "format": "form"}, ".fields: not a mapping of names"),
            ({"authorization": "a\nb"}, ".authorization: has a control"),
        ):
            self.assertProblem(self.sms(**options), f"regsys.sms{part}")
        self.assertProblem({**self.sms(), **DELEGATE}, "regsys.sms: account_threepid_delegates")
