"""GET, POST …/submit_token: a user or a client confirms an address (contract B7.6).

Opening the link changes nothing, because mail scanners open links, too: the page's button confirms.
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
        if not isinstance(error, WrongValidationToken):
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
