"""GET, POST …/submit_token: an address is confirmed, by a person or by a client (contract B7.6).

Opening the link changes nothing, because mail scanners open links, too: the page's button does.
"""

from __future__ import annotations

import re
from typing import Mapping, Optional

import attr

from regsys import json_body
from regsys.errors import MediumNotSupported, RegistrationError, WrongValidationToken
from regsys.http import Call, Endpoint, Handler, Reply
from regsys.model import Client
from regsys.threepids.addresses import EMAIL
from regsys.threepids.validation import ValidatedAddress, Validations
from regsys.web.address_pages import AddressPages

# Our form begins with the name of a field, and JSON never does. Content types are not looked at.
_FORM = re.compile(rb"[a-z_]+=")


@attr.frozen(kw_only=True)
class _Submitted:
    """What a link, a form or a client brings. ``token`` empty: it is still to be typed."""

    sid: str
    client_secret: str = attr.field(repr=False)
    token: str = attr.field(repr=False)

    @classmethod
    def of_page(cls, fields: Mapping[str, Optional[str]]) -> _Submitted:
        """What a link lacks is as good as wrong: there is no such session."""
        return cls(**{name: fields.get(name) or "" for name in ("sid", "client_secret", "token")})

    @classmethod
    def of_client(cls, call: Call) -> _Submitted:
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
    """``path`` has the medium as ``{medium}``; ``on_get``: the link itself confirms, as it did
    before there were scanners."""

    async def get(call: Call) -> Reply:
        given = _of_query(call)
        # A HEAD asks what a GET would answer, and must not do what it does.
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
        await _Submitted.of_client(call).confirm(validations, call.client)
        return Reply({"success": True})

    async def submit(call: Call) -> Reply:
        done = await _Submitted.of_page(call.form()).confirm(validations, call.client)
        return pages.confirmed(call, done, 303)

    async def refused(call: Call, error: RegistrationError) -> Reply:
        if not isinstance(error, WrongValidationToken):
            return pages.refused(call, error)
        # Only who knows the session is told that: the code can be typed where it was wrong.
        given = _Submitted.of_page(call.form()) if call.method == "POST" else _of_query(call)
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


def _of_query(call: Call) -> _Submitted:
    return _Submitted.of_page({key: call.query(key) for key in ("sid", "client_secret", "token")})


def _check_medium(call: Call) -> None:
    if call.path_args["medium"] != EMAIL:
        raise MediumNotSupported()
