"""The ways in that a configuration asks for."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import RegistrationConfig
from regsys.flows import DUMMY, REGISTRATION_TOKEN, TERMS, registration_flows, uses_tokens


class FlowsTests(SynchronousTestCase):
    def test_flows(self) -> None:
        """Nothing, a token beside it, a token in every way: in this order, each stage once."""
        for requires, bypasses, flows in (
            (False, False, ((DUMMY,),)),
            (False, True, ((DUMMY,), (REGISTRATION_TOKEN,))),
            (True, False, ((REGISTRATION_TOKEN, DUMMY),)),
            (True, True, ((REGISTRATION_TOKEN, DUMMY), (REGISTRATION_TOKEN,))),
        ):
            config = RegistrationConfig(requires_token=requires, token_bypasses_3pid=bypasses)
            self.assertEqual(registration_flows(config), flows)
            offered = any(REGISTRATION_TOKEN in flow for flow in flows)
            self.assertIs(uses_tokens(config), offered)

    def test_terms(self) -> None:
        """Who must accept policies does so in every way, behind a token that all must bring."""
        for requires, bypasses, flows in (
            (False, False, ((TERMS, DUMMY),)),
            (False, True, ((TERMS, DUMMY), (TERMS, REGISTRATION_TOKEN))),
            (True, False, ((REGISTRATION_TOKEN, TERMS, DUMMY),)),
            (True, True, ((REGISTRATION_TOKEN, TERMS, DUMMY), (TERMS, REGISTRATION_TOKEN))),
        ):
            config = RegistrationConfig(requires_token=requires, token_bypasses_3pid=bypasses)
            self.assertEqual(registration_flows(config, terms=True), flows)
