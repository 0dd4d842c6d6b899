"""The dummy stage. The other stages are in the modules of their capabilities."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from zope.interface import implementer

from regsys.interfaces import IStage, StageContext
from regsys.model import UIASession
from regsys.uia.stage_types import DUMMY


@implementer(IStage)
class DummyStage:
    """``m.login.dummy``: passed by naming it (contract B16.2)."""

    type = DUMMY
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        return True
