"""A UIA stage that a homeserver might bring itself."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.errors import StageFailed
from regsys.interfaces import IStage, StageContext
from regsys.model import UIASession

QUESTION = "org.example.question"
ANSWERED = {"type": QUESTION, "answer": "a mirror"}


@implementer(IStage)
@attr.frozen
class QuestionStage:
    """Passed by its ``answer``, which is its result. ``contexts`` has those of all attempts."""

    contexts: list[StageContext] = attr.field(factory=list)
    type = QUESTION
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return {"question": "What shows you the world the wrong way round?"}

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        self.contexts.append(context)
        if "answer" not in auth:
            raise StageFailed("M_MISSING_PARAM", "There is no answer.")
        if auth["answer"] != ANSWERED["answer"]:
            raise StageFailed("M_UNAUTHORIZED", "That is not the answer.")
        return {"answered": auth["answer"]}
