"""GET, POST …/submit_token: a user or a client confirms an address (contract B7.6).

Opening the link changes nothing, because mail scanners open links, too: the page's button confirms.
"""

from __future__ import annotations

import re
from typing import Mapping, Optional, Sequence
from urllib.parse import urlsplit

import attr
from twisted.logger import Logger

from regsys import json_body
from regsys.config import ConfigError
from regsys.errors import MediumNotSupported, RegistrationError, ValidationRefused
from regsys.http import Call, Endpoint, Handler, Reply
from regsys.http.reply import Page, refusal
from regsys.model import Client
from regsys.model.canonical_threepids import EMAIL
from regsys.model.threepids import Validation
from regsys.templates import Templates, fault
from regsys.threepids.validation import ValidatedAddress, Validations
from regsys.web.pages import ADMINISTRATORS_SOURCES, Pages

_log = Logger()


@attr.frozen(kw_only=True)
class AddressPages:
    """``kind``: REGISTRATION, ADD_THREEPID or PASSWORD_RESET of regsys.config.email, for a request
    without a valid session.

    ``theirs`` renders templates that were written for a homeserver; ``chosen`` has their files, by
    the homeserver's names (``registration_success.html``). Raises ConfigError if one of them cannot
    be rendered.
    """

    pages: Pages
    theirs: Templates
    chosen: Mapping[str, str]
    kind: str
    server_name: str

    def __attrs_post_init__(self) -> None:
        for ending in ("failure", "success"):
            name = f"{self.kind}_{ending}.html"
            try:
                self._chosen(name, (), failure_reason="")
            except Exception as error:  # a template may raise anything
                text = fault(self.chosen[name], error)
                raise ConfigError([f"{text} — mend it, or take it away"]) from None

    def ask(
        self, call: Call, validation: Validation, token: str, next_link: Optional[str]
    ) -> Reply:
        """The page with the button, and with a field for the code if ``token`` is empty.
        ``next_link``: where the button redirects to in the end."""
        return self.pages.reply(
            call,
            "confirm_address.html",
            sources=_redirect_sources(next_link),
            validation=validation,
            token=token,
            # The session's purpose, whichever endpoint serves the page.
            kind=validation.purpose.value,
            server_name=self.server_name,
        )

    def confirmed(self, call: Call, done: ValidatedAddress, redirect: int) -> Reply:
        """The page after the confirmation, or a redirect with this status to its next_link."""
        kind = done.purpose.value
        reply = self._chosen_reply(f"{kind}_success", call) or self.pages.reply(
            call, "address_confirmed.html", kind=kind, server_name=self.server_name
        )
        if done.next_link is None:
            return reply
        return attr.evolve(reply, status=redirect, headers={"Location": done.next_link})

    def refused(
        self,
        call: Call,
        error: RegistrationError,
        again: Optional[Validation] = None,
        next_link: Optional[str] = None,
    ) -> Reply:
        """The page of a refusal. ``again``: the session whose code may be typed again."""
        plain = refusal(error)
        kind = self.kind if again is None else again.purpose.value
        page = self._chosen_reply(
            f"{kind}_failure", call, failure_reason=error.text
        ) or self.pages.reply(
            call,
            "address_refused.html",
            sources=_redirect_sources(next_link),
            validation=again,
            error=error.text,
            kind=kind,
        )
        return attr.evolve(plain, body=page.body)

    def _chosen_reply(self, name: str, call: Call, **values: str) -> Optional[Reply]:
        """The administrator's page; None if there is none, or if it fails."""
        try:
            html = self._chosen(f"{name}.html", call.languages, **values)
        except Exception as error:  # whatever its author made it do
            _log.error(
                "{problem}: the built-in template is used instead",
                problem=fault(f"{name}.html", error),
            )
            return None
        return None if html is None else Reply(Page(html, ADMINISTRATORS_SOURCES))

    def _chosen(self, name: str, languages: Sequence[str], **values: str) -> Optional[str]:
        file = self.chosen.get(name)
        if file is None:
            return None
        return self.theirs.render_strictly(file, languages, server_name=self.server_name, **values)


def _redirect_sources(link: Optional[str]) -> Mapping[str, tuple[str, ...]]:
    """The sources that let a form redirect there: browsers apply ``form-action`` to redirects."""
    if link is None:
        return {}
    parts = urlsplit(link)
    is_plain = re.fullmatch(r"[0-9A-Za-z._:\[\]-]+", parts.netloc)
    return {"form-action": (f"{parts.scheme}://{parts.netloc}",)} if is_plain else {}


# Our form begins with a field's name, and JSON never does. Content types are ignored.
_FORM = re.compile(rb"[a-z_]+=")


@attr.frozen(kw_only=True)
class _Submitted:
    """The fields of a link, a form or a client's request. ``token`` is empty until it is typed."""

    sid: str
    client_secret: str = attr.field(repr=False)
    token: str = attr.field(repr=False)

    @classmethod
    def from_fields(cls, fields: Mapping[str, Optional[str]]) -> _Submitted:
        """From a link or a form. A missing field counts as a wrong one: no session matches."""
        return cls(**{name: fields.get(name) or "" for name in ("sid", "client_secret", "token")})

    @classmethod
    def from_json(cls, call: Call) -> _Submitted:
        body = call.object()
        return cls(
            sid=json_body.required_string(body, "sid"),
            client_secret=json_body.required_string(body, "client_secret"),
            token=json_body.required_string(body, "token"),
        )

    async def confirm(self, validations: Validations, client: Client) -> ValidatedAddress:
        return await validations.confirm(EMAIL, self.sid, self.client_secret, self.token, client)


def confirm_address(
    name: str, path: str, validations: Validations, pages: AddressPages, *, on_get: bool
) -> Endpoint:
    """``path`` has the medium as ``{medium}``; ``on_get``: opening the link confirms."""

    async def get(call: Call) -> Reply:
        given = _from_query(call)
        # A HEAD must not have the effect of a GET.
        if on_get and call.method == "GET" and given.token:
            done = await given.confirm(validations, call.client)
            return pages.confirmed(call, done, 302)
        validation = await validations.find_for_link(
            EMAIL, given.sid, given.client_secret, given.token, call.client
        )
        return pages.ask(call, validation, given.token, validations.redirect_url(validation))

    async def post(call: Call) -> Reply:
        if _FORM.match(call.body):
            return await post_form(call)
        _check_medium(call)
        await _Submitted.from_json(call).confirm(validations, call.client)
        return Reply({"success": True})

    async def submit(call: Call) -> Reply:
        done = await _Submitted.from_fields(call.form()).confirm(validations, call.client)
        return pages.confirmed(call, done, 303)

    async def refused(call: Call, error: RegistrationError) -> Reply:
        if not isinstance(error, ValidationRefused) or not error.may_try_again:
            return pages.refused(call, error)
        # Only a request that knows the session gets this error: the code can be typed again.
        given = _Submitted.from_fields(call.form()) if call.method == "POST" else _from_query(call)
        validation = await validations.find(EMAIL, given.sid, given.client_secret)
        return pages.refused(call, error, validation, validations.redirect_url(validation))

    def as_page(handler: Handler) -> Handler:
        async def handle(call: Call) -> Reply:
            try:
                _check_medium(call)
                return await handler(call)
            except RegistrationError as error:
                return await refused(call, error)

        return handle

    post_form = as_page(submit)
    return Endpoint(name, (path,), {"GET": as_page(get), "POST": post})


def _from_query(call: Call) -> _Submitted:
    keys = ("sid", "client_secret", "token")
    return _Submitted.from_fields({key: call.query(key) for key in keys})


def _check_medium(call: Call) -> None:
    if call.path_args["medium"] != EMAIL:
        raise MediumNotSupported()
