"""The password as a stage of user-interactive authentication."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr
from zope.interface import implementer

from regsys.client_api.credentials import PasswordCheck
from regsys.errors import (
    BadJSON,
    InvalidParam,
    LoginFailed,
    MissingParam,
    StageFailed,
    UnknownStage,
)
from regsys.interfaces import IStage, StageContext
from regsys.model import UIASession
from regsys.model.login_types import PASSWORD

# In the stage's result: identifies the password that was right.
FINGERPRINT = "password_fingerprint"


@implementer(IStage)
@attr.frozen(kw_only=True)
class PasswordStage:
    """``m.login.password``: the password of the session's user (contract B8.5), with the limits of
    logins, compared as at /login. The password is not stored."""

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
            credentials = self.passwords.credentials_in(auth, PASSWORD)
            found = await self.passwords.authenticate(credentials, only=user_id)
        except MissingParam as error:
            raise StageFailed("M_MISSING_PARAM", error.text) from None
        except (BadJSON, InvalidParam) as error:
            raise StageFailed("M_INVALID_PARAM", error.text) from None
        except LoginFailed:
            raise refused from None
        return {FINGERPRINT: found.user.password_fingerprint}
