"""``regsys.mail_needs_stages``: no validation mail before the earlier stages of a flow are passed,
for example the captcha."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import attr

from regsys import json_body
from regsys.errors import MissingParam, StagesMissing, UnknownSession
from regsys.uia.sessions import Flow, UserInteractiveAuth


@attr.frozen(kw_only=True)
class Prerequisites:
    """``flows``: those of registration."""

    uia: UserInteractiveAuth
    flows: Sequence[Flow]

    async def check(self, stage: str, body: Mapping[str, Any]) -> None:
        """Check that the body's ``session`` has passed all stages before ``stage`` in some flow.

        Raises MissingParam, UnknownSession (also for a finished session), StagesMissing.
        """
        session_id = json_body.string(body, "session")
        if not session_id:
            text = "'session' is missing: it must name a registration that has come this far."
            raise MissingParam(text)
        session = await self.uia.open(session_id)
        if session.user_id is not None or session.outcome is not None:
            raise UnknownSession()
        passed = {name for name, result in session.results.items() if result is not None}
        if not any(
            passed.issuperset(flow[: flow.index(stage)]) for flow in self.flows if stage in flow
        ):
            raise StagesMissing()
