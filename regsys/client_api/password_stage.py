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

# In the stage's result: identifies the password that was right.
FINGERPRINT = "password_fingerprint"


@implementer(IStage)
@attr.frozen(kw_only=True)
class PasswordStage:
    """``m.login.password``: the password of the session's user (contract B8.5), with the limits of
    logins. The password is not stored."""

    passwords: PasswordCheck

    type = PASSWORD
    page = None

    def params(self, session: UIASession) -> Optional[Mapping[str, Any]]:
        return None

    async def check(self, auth: Mapping[str, Any], context: StageContext) -> Any:
        user_id = context.session.user_id
        if user_id is None:
            raise UnknownStage()
        # M_FORBIDDEN, as in the specification's example and at /login.
        refused = StageFailed("M_FORBIDDEN", "The user name or the password is wrong.")
        try:
            localpart = await self.passwords.localpart(self.passwords.identifier_in(auth))
            password = json_body.required_string(auth, "password", limit=json_body.MAX_PASSWORD)
        except MissingParam as error:
            raise StageFailed("M_MISSING_PARAM", error.text) from None
        except (BadJSON, InvalidParam) as error:
            raise StageFailed("M_INVALID_PARAM", error.text) from None
        except LoginFailed:
            raise refused from None
        if localpart is None or localpart.lower() != user_id.name_key:
            raise refused
        try:
            user = await self.passwords.check(user_id, Secret(password), None)
        except LoginFailed:
            raise refused from None
        return {FINGERPRINT: user.password_fingerprint}
