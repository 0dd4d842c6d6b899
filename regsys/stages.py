"""The stages of user-interactive authentication that regsys brings, one class each."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from zope.interface import implementer

from regsys.interfaces import IStage, StageContext
from regsys.model import UIASession


@implementer(IStage)
class DummyStage:
    """``m.login.dummy``: passed by asking (BEHAVIOUR B16.2)."""

    type = "m.login.dummy"

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        return True
