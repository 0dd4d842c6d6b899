"""The names that a registration gets whatever it asks for: from modules, or from its addresses."""

from __future__ import annotations

from typing import Any, Awaitable, Mapping

import attr

from regsys.accounts.usernames import Usernames, ascii_lower
from regsys.callbacks import NameCallbacks
from regsys.client_api.names_from_threepids import ThreepidNames, keeps_name
from regsys.model import Registration
from regsys.uia.stage_types import EMAIL_IDENTITY, MSISDN_STAGE, REGISTRATION_TOKEN


@attr.frozen(kw_only=True)
class ChosenNames:
    """``modules`` are asked first, once all stages are passed (contract B10.2)."""

    modules: NameCallbacks
    threepids: ThreepidNames
    names: Usernames

    @property
    def asks_modules(self) -> bool:
        """Whether a callback may choose a name, and gets all parameters of the request."""
        return self.modules.any

    @property
    def may_replace(self) -> bool:
        """Whether an account may get another name than the client asked for."""
        return self.threepids.may_replace or bool(self.modules.usernames.hooks)

    def with_names(
        self, registration: Registration, params: Mapping[str, Any]
    ) -> Awaitable[Registration]:
        """The registration with the names that were chosen for it. ``params``: what the client has
        sent. A guest who becomes a user keeps its name. Raises Unavailable if a callback fails, and
        the refusals of names for one that cannot be used (contract B1)."""
        if not self.modules.any or keeps_name(registration):
            return self.threepids.with_names(registration)
        return self._asked(registration, params)

    async def _asked(self, registration: Registration, params: Mapping[str, Any]) -> Registration:
        found = uia_results(registration.stages)
        localpart = await self.modules.username(found, params)
        display_name = await self.modules.display_name(found, params)
        if localpart is None or display_name is None:
            registration = await self.threepids.with_names(registration)
        if localpart is not None:
            localpart = ascii_lower(localpart)
            await self.names.check(localpart, key=registration.key)
            registration = attr.evolve(registration, localpart=localpart, name_checked=True)
        if display_name is not None:
            registration = attr.evolve(registration, display_name=display_name)
        return registration


def uia_results(stages: Mapping[str, Any]) -> Mapping[str, Any]:
    """What modules are told of the stages: the identifiers of email and phone, the registration
    token as its text, True of any other."""
    return {stage: _told(stage, result) for stage, result in stages.items()}


def _told(stage: str, result: Any) -> Any:
    if stage == REGISTRATION_TOKEN:
        return result
    if stage in (EMAIL_IDENTITY, MSISDN_STAGE) and isinstance(result, Mapping):
        return {
            "medium": result["medium"],
            "address": result["address"],
            "validated_at": result["validated_at_ms"],
        }
    return True
