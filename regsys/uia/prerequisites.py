"""No mail before the stages that come before it, where ``regsys.mail_needs_stages`` asks for that:
so that, for example, no mail is sent before a captcha was solved."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

import attr

from regsys import json_body
from regsys.errors import MissingParam, StagesMissing, UnknownSession
from regsys.uia.sessions import Flow, UserInteractiveAuth


@attr.frozen(kw_only=True)
class Prerequisites:
    """``flows`` are the ways to register."""

    uia: UserInteractiveAuth
    flows: Sequence[Flow]

    async def check(self, stage: str, body: Mapping[str, Any]) -> None:
        """Whether the ``session`` of this body has passed all that some flow has before ``stage``.

        Raises MissingParam, UnknownSession (also for one that has its account), StagesMissing.
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
