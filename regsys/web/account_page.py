"""GET, POST /_matrix/static/client/account/: where a homeserver sends users who must confirm that
they reset their cross-signing keys (contract B17.5)."""

from __future__ import annotations

from typing import Awaitable, Callable

from regsys import json_body
from regsys.client_api.credentials import PasswordCheck
from regsys.errors import LoginFailed
from regsys.http import Call, Endpoint, Reply
from regsys.model import Secret, UserID
from regsys.web.pages import Pages

PATH = "/_matrix/static/client/account/"


def account_page(
    passwords: PasswordCheck, allow_reset: Callable[[UserID], Awaitable[None]], pages: Pages
) -> Endpoint:
    """``allow_reset`` tells the homeserver. The page needs no script. No other site can send its
    form in the user's name, since it has their password."""

    async def get(call: Call) -> Reply:
        return pages.reply(call, "reset_keys.html", user="", failure=None)

    async def post(call: Call) -> Reply:
        form = call.form()
        user = json_body.required_string(form, "user", limit=json_body.MAX_NAME)
        password = json_body.required_string(form, "password", limit=json_body.MAX_PASSWORD)
        try:
            found = await passwords.check(user, Secret(password), call.client)
        except LoginFailed as error:
            return pages.reply(
                call, "reset_keys.html", status=error.status, user=user, failure=error.text
            )
        await allow_reset(found.user_id)
        return pages.reply(call, "reset_keys_allowed.html")

    handlers = {"GET": pages.handler(get), "POST": pages.handler(post)}
    return Endpoint("account_page", (PATH,), handlers)
