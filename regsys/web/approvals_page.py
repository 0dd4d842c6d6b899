"""GET, POST /_regsys/approvals/: where administrators see who waits for approval, and decide.

It needs no script. An administrator logs in with the account's password, within the limits of
/login, and gets a cookie for this page alone. No other site can send its forms: the cookie is
SameSite=Strict, and each form has a token that is derived from the cookie's secret.
"""

from __future__ import annotations

import hmac
from datetime import datetime, timezone
from typing import Mapping, Optional
from urllib.parse import quote, urlsplit

import attr
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from regsys import clock, json_body
from regsys.accounts.approvals import Approvals
from regsys.client_api.credentials import PasswordCheck
from regsys.errors import (
    AlreadyDecided,
    AwaitingApproval,
    LoginFailed,
    RegistrationError,
    UserDeactivated,
    UserNotFound,
    sentence,
)
from regsys.http import Call, Endpoint, Reply
from regsys.model import Secret, UserID, token_text
from regsys.model.approvals import MAX_REASON
from regsys.storage.administrator_sessions import AdministratorSessionStore
from regsys.web.admin_queries import user_id_of
from regsys.web.pages import Pages

PATH = "/_regsys/approvals/"
COOKIE = "regsys_administrator"
# How long an administrator stays logged in here.
LASTS_MS = 3600 * 1000
# Accounts of one page.
AT_ONCE = 50
NOT_FOR_YOU = sentence("This page is for administrators of this server only.")
OTHER_PAGE = sentence("This page was too old: please try again.")

log = Logger()


@attr.frozen(kw_only=True)
class ApprovalsPage:
    """``secret`` is the server's: the forms' tokens are derived from it."""

    approvals: Approvals
    passwords: PasswordCheck
    sessions: AdministratorSessionStore
    pages: Pages
    server_name: str
    public_baseurl: str
    clock: IReactorTime
    secret: bytes = attr.field(repr=False)

    def endpoint(self) -> Endpoint:
        handlers = {"GET": self.pages.handler(self._get), "POST": self.pages.handler(self._post)}
        return Endpoint("approvals_page", (PATH,), handlers)

    async def _get(self, call: Call) -> Reply:
        who = await self._who(call)
        return self._login_form(call) if who is None else await self._list(call, who)

    async def _post(self, call: Call) -> Reply:
        form = call.form()
        if form.get("action") == "log_in":
            return await self._log_in(call, form)
        who = await self._who(call)
        if who is None:
            return self._login_form(call, OTHER_PAGE, 403)
        if not self._is_ours(call, form):
            return await self._list(call, who, OTHER_PAGE, 403)
        if form.get("action") == "log_out":
            await self.sessions.end(call.cookies[COOKIE])
            return self._to("", self._cookie("", 0))
        return await self._decide(call, form, who)

    async def _decide(self, call: Call, form: Mapping[str, str], who: UserID) -> Reply:
        user_id = user_id_of(form.get("user_id", ""), self.server_name)
        try:
            if form.get("action") == "refuse":
                await self.approvals.refuse(user_id, form.get("reason"), str(who))
            else:
                await self.approvals.approve(user_id, str(who))
        except (AlreadyDecided, UserDeactivated, UserNotFound):
            pass  # the page says below what became of it
        except RegistrationError as error:
            return await self._list(call, who, error.text, error.status)
        return self._to(f"?about={quote(str(user_id), safe='')}")

    # --- Who is logged in -----------------------------------------------------------------------

    async def _log_in(self, call: Call, form: Mapping[str, str]) -> Reply:
        user = json_body.required_string(form, "user", limit=json_body.MAX_NAME)
        password = json_body.required_string(form, "password", limit=json_body.MAX_PASSWORD)
        try:
            found = await self.passwords.check(user, Secret(password), call.client)
        except (LoginFailed, UserDeactivated, AwaitingApproval) as error:
            return self._login_form(call, error.text, error.status, user)
        if not found.admin:
            return self._login_form(call, NOT_FOR_YOU, 403, user)
        secret = token_text.random_letters(43)
        await self.sessions.begin(secret, found, clock.now_ms(self.clock) + LASTS_MS)
        log.info("{user} has logged in at the page of approvals", user=str(found.user_id))
        return self._to("", self._cookie(secret, LASTS_MS // 1000))

    async def _who(self, call: Call) -> Optional[UserID]:
        secret = call.cookies.get(COOKIE)
        if not secret:
            return None
        return await self.sessions.user_of(secret, clock.now_ms(self.clock))

    def _cookie(self, secret: str, seconds: int) -> str:
        where = urlsplit(self.public_baseurl)
        secure = "; Secure" if where.scheme == "https" else ""
        path = f"{where.path}{PATH[1:]}"
        kept = f"Path={path}; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}"
        return f"{COOKIE}={secret}; {kept}"

    def _form_token(self, call: Call) -> str:
        secret = call.cookies.get(COOKIE, "")
        return token_text.derived_letters(self.secret, "administrators' forms", secret, 32)

    def _is_ours(self, call: Call, form: Mapping[str, str]) -> bool:
        sent = form.get("form_token", "").encode("utf-8", "surrogatepass")
        return hmac.compare_digest(sent, self._form_token(call).encode("ascii"))

    # --- What is shown --------------------------------------------------------------------------

    def _to(self, query: str, cookie: Optional[str] = None) -> Reply:
        """A redirect to this page: a reload of what follows sends no form again."""
        headers = {} if cookie is None else {"Set-Cookie": cookie}
        return Reply({}, 303, {"Location": f"./{query}", **headers})

    def _login_form(
        self, call: Call, failure: Optional[str] = None, status: int = 200, user: str = ""
    ) -> Reply:
        reply = self.pages.reply(
            call,
            "approvals_login.html",
            status=status,
            user=user,
            failure=failure,
            server_name=self.server_name,
        )
        return attr.evolve(reply, refused=failure)

    async def _list(
        self, call: Call, who: UserID, failure: Optional[str] = None, status: int = 200
    ) -> Reply:
        page = await self.approvals.waiting(AT_ONCE, call.query("from"))
        about = call.query("about")
        decided = None
        if about is not None and about.startswith("@"):
            decided = await self.approvals.decided(user_id_of(about, self.server_name))
        reply = self.pages.reply(
            call,
            "approvals.html",
            status=status,
            who=str(who),
            accounts=page.accounts,
            count=(await self.approvals.queue()).count,
            next=None if page.next_token is None else quote(page.next_token, safe=""),
            about=about,
            decided=decided,
            failure=failure,
            form_token=self._form_token(call),
            max_reason=MAX_REASON,
            utc=_utc,
            server_name=self.server_name,
        )
        return attr.evolve(reply, refused=failure)


def _utc(moment_ms: int) -> str:
    moment = datetime.fromtimestamp(moment_ms // 1000, timezone.utc)
    return moment.strftime("%Y-%m-%d %H:%M UTC")
