"""The password as a stage of user-interactive authentication."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys import json_body
from regsys.client_api.credentials import PASSWORD, PasswordCheck
from regsys.errors import (
    BadJSON,
    InvalidParam,
    LoginFailed,
    MissingParam,
    StageFailed,
    UnknownStage,
)
from regsys.interfaces import IStage, StageContext
from regsys.model import Secret, UIASession


@implementer(IStage)
@attr.frozen(kw_only=True)
class PasswordStage:
    """``m.login.password``: the password of the user whose session it is (contract B8.5), within
    the limits of logging in. It is compared and forgotten."""

    passwords: PasswordCheck

    type = PASSWORD
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        user_id = context.session.user_id
        if user_id is None:
            raise UnknownStage()
        # As the specification has it, and /login: here M_UNAUTHORIZED would say less.
        refused = StageFailed("M_FORBIDDEN", "The user name or the password is wrong.")
        try:
            named = await self.passwords.localpart(auth)
            password = json_body.required_string(auth, "password", limit=json_body.MAX_PASSWORD)
        except MissingParam as error:
            raise StageFailed("M_MISSING_PARAM", error.text) from None
        except (BadJSON, InvalidParam) as error:
            raise StageFailed("M_INVALID_PARAM", error.text) from None
        except LoginFailed:
            raise refused from None
        if named is None or named.lower() != user_id.name_key:
            raise refused
        try:
            await self.passwords.user(user_id.localpart, Secret(password))
        except LoginFailed:
            raise refused from None
        return True
