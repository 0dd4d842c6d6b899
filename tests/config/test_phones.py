"""Who proves phone numbers."""

from __future__ import annotations

from tests.config.case import ConfigCase

DELEGATE = {"account_threepid_delegates": {"msisdn": "https://id.example/"}}


class PhonesTests(ConfigCase):
    def test_identityServer(self) -> None:
        """With an identity server numbers are on offer, unless they are switched off."""
        config = self.parse(DELEGATE)
        self.assertEqual(config.phones.identity_server, "https://id.example")
        self.assertEqual((config.threepids.offered, config.unused), ({"msisdn"}, ()))
        off = self.parse({**DELEGATE, "disable_msisdn_registration": True})
        self.assertEqual(off.threepids.offered, frozenset())

    def test_required(self) -> None:
        """Numbers may be required where somebody proves them."""
        required = {"registrations_require_3pid": ["msisdn"], "enable_registration": True}
        self.assertEqual(self.parse({**required, **DELEGATE}).threepids.required, {"msisdn"})

    def test_nobody(self) -> None:
        for nothing in (None, {}, {"msisdn": None}, {"msisdn": ""}, {"email": None}):
            config = self.parse({"account_threepid_delegates": nothing})
            self.assertFalse(config.phones.can_prove, nothing)

    def test_refused(self) -> None:
        """No other server confirms mails, and a URL is one."""
        name = "account_threepid_delegates"
        for value, part in (
            ({"email": "https://id.example"}, ".email: no other server"),
            ({"msisdn": "id.example"}, ".msisdn: not the address of a website"),
            ({"msisdn": "https://id.example/?a"}, ".msisdn: not the address"),
            ({"msisdn": 5}, ".msisdn: not text"),
        ):
            self.assertProblem({name: value}, f"{name}{part}")
