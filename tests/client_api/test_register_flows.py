"""The flows that a configuration asks for."""

from __future__ import annotations

from itertools import combinations, product
from typing import Any, Optional

import attr
from twisted.trial.unittest import SynchronousTestCase

from regsys.client_api.register_flows import registration_flows, uses_tokens
from regsys.config import ThreepidsConfig
from regsys.testing import config
from regsys.uia.stage_types import CAPTCHAS

RECAPTCHA = {
    "enable_registration_captcha": True,
    "recaptcha_public_key": "public",
    "recaptcha_private_key": "private",
}


RULES = {"rules": {"version": "1", "en": {"name": "Rules", "url": "https://rules.example/"}}}


def options(
    required: bool, bypass: bool, captcha: Optional[str], terms: bool, email: Optional[str] = None
) -> dict[str, Any]:
    own: dict[str, Any] = {"policies": RULES} if terms else {}
    chosen: dict[str, Any] = {
        "registration_requires_token": required,
        "enable_registration_token_3pid_bypass": bypass,
        "regsys": own,
    }
    if email is not None:
        chosen["email"] = {"notif_from": "server@test.example"}
        chosen["registrations_require_3pid"] = ["email"] if email == "required" else []
    if captcha == "recaptcha":
        chosen.update(RECAPTCHA)
    elif captcha is not None:
        keys = {} if captcha == "proof_of_work" else {"public_key": "a", "private_key": "b"}
        chosen["enable_registration_captcha"] = True
        own["captcha"] = {"kind": captcha, **keys}
    return chosen


def oracle(
    required: bool, bypass: bool, captcha: Optional[str], terms: bool, email: Optional[str] = None
) -> list[list[str]]:
    """B8.6 literally: the flows in order, then each prepended to every one."""
    flows = [] if email == "required" else [["m.login.dummy"]]
    if email is not None:
        flows += [["m.login.email.identity"]]
    if bypass:
        flows += [["m.login.registration_token"]]
    stage = {
        "recaptcha": "m.login.recaptcha",
        "hcaptcha": "org.regsys.hcaptcha",
        "turnstile": "org.regsys.turnstile",
        "proof_of_work": "org.regsys.altcha",
    }
    if terms:
        for flow in flows:
            flow.insert(0, "m.login.terms")
    if captcha:
        for flow in flows:
            flow.insert(0, stage[captcha])
    if required:
        for flow in flows:
            if "m.login.registration_token" not in flow:
                flow.insert(0, "m.login.registration_token")
    return flows


class FlowsTests(SynchronousTestCase):
    def test_everyCombination(self) -> None:
        """The flows are those of B8.6 in every combination of options, each stage once, in this
        order."""
        either = (False, True)
        emails = (None, "offered", "required")
        cases = list(product(either, either, (None, *CAPTCHAS), either, emails))
        self.assertEqual(len(cases), 120)
        for case in cases:
            chosen = config(**options(*case))
            flows = [list(flow) for flow in registration_flows(chosen)]
            self.assertEqual(flows, oracle(*case), case)
            self.assertIs(uses_tokens(chosen.registration), case[0] or case[1], case)

    def test_order(self) -> None:
        """Token, captcha, terms, then the rest; a flow by token asks for it at its end."""
        chosen = config(**options(True, True, "recaptcha", True))
        token, captcha, terms = "m.login.registration_token", "m.login.recaptcha", "m.login.terms"
        expected = ((token, captcha, terms, "m.login.dummy"), (captcha, terms, token))
        self.assertEqual(registration_flows(chosen), expected)

    def test_threepids(self) -> None:
        """Which addresses can be validated and which are required decides the flows, as B8.6 says:
        none needed, email, phone, both."""
        media, dummy = ("email", "msisdn"), "m.login.dummy"
        email, phone = "m.login.email.identity", "m.login.msisdn"
        subsets = [frozenset(some) for size in range(3) for some in combinations(media, size)]
        cases = [(offered, required) for offered in subsets for required in subsets]
        for offered, required in cases:
            if not required <= offered:
                continue  # no configuration says so
            expected = []
            if not required:
                expected.append((dummy,))
            if "email" in offered and "msisdn" not in required:
                expected.append((email,))
            if "msisdn" in offered and "email" not in required:
                expected.append((phone,))
            if offered == {*media}:
                expected.append((phone, email))
            threepids = ThreepidsConfig(offered=offered, required=required)
            chosen = attr.evolve(config(), threepids=threepids)
            self.assertEqual(registration_flows(chosen), tuple(expected), (offered, required))
