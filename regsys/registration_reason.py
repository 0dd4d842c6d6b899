"""The UIA stage that asks why somebody wants an account, for the administrator who approves it
(contract B2.8)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from zope.interface import implementer

from regsys.errors import StageFailed
from regsys.interfaces import IStage, StageContext, StagePage
from regsys.model import UIASession
from regsys.model.approvals import MAX_REASON, plain_text
from regsys.uia.stage_types import REASON


@implementer(IStage)
class ReasonStage:
    """``org.regsys.registration_reason``: its ``reason`` is text of at most ``max_length``
    characters. The session keeps it, and then the account's row in the queue."""

    type = REASON
    page = StagePage(template="stages/reason.html", fields={"reason": "reason"})

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return {"max_length": MAX_REASON}

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        given = auth.get("reason", "")
        if not isinstance(given, str):
            raise StageFailed("M_INVALID_PARAM", "'reason' must be a string.")
        reason = plain_text(given)
        if reason is None:
            raise StageFailed(
                "M_INVALID_PARAM", "Your reason contains a character that is not allowed."
            )
        if not reason:
            raise StageFailed("M_MISSING_PARAM", "Please say why you would like an account.")
        if len(reason) > MAX_REASON:
            raise StageFailed("M_INVALID_PARAM", "Your reason is too long: please shorten it.")
        return reason
