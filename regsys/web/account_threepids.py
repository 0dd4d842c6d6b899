"""The endpoints for an existing account's 3PIDs (contract B7.10)."""

from __future__ import annotations

import re
from typing import Any, Awaitable, Callable, Mapping, Optional

import attr

from regsys import json_body
from regsys.errors import InvalidParam, MissingParam, UnknownToken
from regsys.http import Call, Endpoint, Reply
from regsys.interfaces import IAuth
from regsys.interfaces.internal import IPhoneValidation
from regsys.metrics import Metrics
from regsys.model import AccountThreepid, Challenge, MailPurpose, Requester, Secret, UserID
from regsys.model.canonical_threepids import EMAIL, MSISDN
from regsys.model.identity_server_bindings import IdentityServerSession
from regsys.threepids.account import AccountThreepids
from regsys.threepids.addresses import check_client_secret
from regsys.threepids.identity_server_bindings import Bindings
from regsys.threepids.validation import Validations
from regsys.uia.reauthentication import Reauthentication
from regsys.web.actors import challenge_reply, reauthentication_request
from regsys.web.login import requester
from regsys.web.responses import client_paths, unbinding_json
from regsys.web.threepids import with_submit_url

MAX_SID = 255
# Element for Android uses some of these under their unstable prefix.
VERSIONS = ("v3", "r0", "unstable")
# The characters of a token in a header.
_TOKEN = re.compile(r"[!-~]{1,2048}")


@attr.frozen(kw_only=True)
class TokenRequests:
    """Sends validation tokens for this purpose, by email or text message."""

    purpose: MailPurpose
    validations: Validations
    phones: IPhoneValidation
    public_baseurl: str
    metrics: Metrics

    async def email(
        self, body: Mapping[str, Any], call: Call, user_id: Optional[UserID]
    ) -> Mapping[str, Any]:
        ask = self.validations.request_token
        return {"sid": await ask(EMAIL, body, call.client, call.languages, user_id, self.purpose)}

    async def msisdn(
        self, body: Mapping[str, Any], call: Call, user_id: Optional[UserID]
    ) -> Mapping[str, Any]:
        ask = self.phones.request_token
        answer = await ask(body, call.client, call.languages, user_id, self.purpose)
        return with_submit_url(answer, self.public_baseurl)


def endpoints(
    held: AccountThreepids,
    requests: TokenRequests,
    bindings: Bindings,
    reauthentication: Optional[Reauthentication],
    auth: IAuth,
) -> list[Endpoint]:
    """Without a ``reauthentication`` there are no endpoints to add an address, unless changes are
    off: then these refuse with a reason."""
    may_add = reauthentication is not None or not held.may_change
    found = [
        threepids(held, auth, may_add),
        delete(held, bindings, auth),
        bind(held, bindings, auth),
        unbind(held, bindings, auth),
    ]
    if may_add:
        found += [
            request_token(EMAIL, requests.email, held, auth, requests.metrics),
            request_token(MSISDN, requests.msisdn, held, auth, requests.metrics),
            add(held, reauthentication, auth),
        ]
    return found


def threepids(held: AccountThreepids, auth: IAuth, may_add: bool) -> Endpoint:
    """GET the list; if ``may_add``, also the deprecated POST, which needs no reauthentication."""

    async def get(call: Call) -> Reply:
        who = await requester(call, auth)
        found = await held.of_user(who.user_id)
        return Reply({"threepids": [_threepid_json(item) for item in found]})

    async def post(call: Call) -> Reply:
        who = await _changer(call, held, auth)
        body = call.object()
        creds = json_body.mapping(body, "three_pid_creds")
        if creds is None:
            creds = json_body.mapping(body, "threePidCreds")  # of some old clients
        if creds is None:
            raise MissingParam("'three_pid_creds' is missing.")
        sid, client_secret = _credentials(creds)
        await held.add(who.user_id, sid, client_secret, call.client)
        return Reply()

    methods = {"GET": get, "POST": post} if may_add else {"GET": get}
    return Endpoint("threepids", client_paths("account/3pid"), methods)


def _threepid_json(item: AccountThreepid) -> dict[str, Any]:
    return {
        "medium": item.medium,
        "address": item.address,
        "validated_at": item.validated_at_ms,
        "added_at": item.added_ms,
    }


def request_token(
    medium: str,
    ask: Callable[[Mapping[str, Any], Call, Optional[UserID]], Awaitable[Mapping[str, Any]]],
    held: AccountThreepids,
    auth: IAuth,
    metrics: Metrics,
) -> Endpoint:
    """No access token is required, because clients send none; one that is sent must be valid."""

    async def post(call: Call) -> Reply:
        who = None if call.access_token is None else await requester(call, auth)
        held.check_changeable(who)
        body = call.object()
        answer = await ask(body, call, None if who is None else who.user_id)
        metrics.validation_requested(medium, "add_threepid", body["send_attempt"])
        return Reply(answer)

    paths = client_paths(f"account/3pid/{medium}/requestToken")
    return Endpoint(f"threepid_{medium}_request_token", paths, {"POST": post})


def add(
    held: AccountThreepids, reauthentication: Optional[Reauthentication], auth: IAuth
) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await _changer(call, held, auth)
        assert reauthentication is not None  # else _changer has refused
        body = call.object()
        sid, client_secret = _credentials(body)
        # Nobody need type a password for what cannot be added anyway.
        await held.validation_for(who.user_id, sid, client_secret, call.client)
        answer = await reauthentication.confirm(reauthentication_request(call, who, body))
        if isinstance(answer, Challenge):
            return challenge_reply(answer)
        await held.add(who.user_id, sid, client_secret, call.client)
        return Reply()

    return Endpoint("threepid_add", client_paths("account/3pid/add", *VERSIONS), {"POST": post})


def _credentials(body: Mapping[str, Any]) -> tuple[str, str]:
    """The sid and the client secret of a validation session."""
    sid = json_body.required_string(body, "sid")
    client_secret = json_body.required_string(body, "client_secret")
    check_client_secret(client_secret)
    return sid, client_secret


def delete(held: AccountThreepids, bindings: Bindings, auth: IAuth) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await _changer(call, held, auth)
        body = call.object()
        medium = json_body.required_string(body, "medium")
        address = json_body.required_string(body, "address")
        id_server = json_body.string(body, "id_server")
        done = await bindings.delete(who.user_id, medium, address, id_server)
        return Reply(unbinding_json(done))

    return Endpoint(
        "threepid_delete", client_paths("account/3pid/delete", *VERSIONS), {"POST": post}
    )


def bind(held: AccountThreepids, bindings: Bindings, auth: IAuth) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await _changer(call, held, auth)
        body = call.object()
        client_secret = json_body.required_string(body, "client_secret")
        check_client_secret(client_secret)
        session = IdentityServerSession(
            sid=json_body.required_string(body, "sid", limit=MAX_SID),
            client_secret=Secret(client_secret),
        )
        token = json_body.required_string(body, "id_access_token")
        if not _TOKEN.fullmatch(token):
            raise InvalidParam("'id_access_token' is not a valid token.")
        id_server = json_body.string(body, "id_server")

        async def is_here() -> bool:
            try:
                return (await requester(call, auth)).user_id == who.user_id
            except UnknownToken as refusal:
                # A token that has merely expired meanwhile is still the user's.
                return bool(refusal.extra.get("soft_logout"))

        await bindings.bind(who.user_id, id_server, Secret(token), session, is_here)
        return Reply()

    return Endpoint("threepid_bind", client_paths("account/3pid/bind", *VERSIONS), {"POST": post})


def unbind(held: AccountThreepids, bindings: Bindings, auth: IAuth) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await _changer(call, held, auth)
        body = call.object()
        medium = json_body.required_string(body, "medium")
        address = json_body.required_string(body, "address")
        id_server = json_body.string(body, "id_server")
        done = await bindings.unbind(who.user_id, medium, address, id_server)
        return Reply(unbinding_json(done))

    return Endpoint(
        "threepid_unbind", client_paths("account/3pid/unbind", *VERSIONS), {"POST": post}
    )


async def _changer(call: Call, held: AccountThreepids, auth: IAuth) -> Requester:
    """The requester, if they may change their addresses."""
    who = await requester(call, auth)
    held.check_changeable(who)
    return who
