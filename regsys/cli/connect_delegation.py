"""What ``check-config --connect`` asks where this is the auth service of a Synapse: both directions
of the door between the two, their clocks, and which of them answers what at the public address.

Which answers tell the two apart was measured: a Synapse that has an auth service answers what it
has given up with 404 (docs/synapse-routes.md).
"""

from __future__ import annotations

import secrets
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Mapping, Sequence

from regsys.cli.peers import NotAsked, Peer, Unreachable, without_secrets
from regsys.config import Config, DelegationConfig
from regsys.errors import HomeserverUnavailable, RegistrationError
from regsys.model import UserID
from regsys.outbound.http import Answer, HTTPClient, NoAnswer
from regsys.outbound.synapse import Synapse
from regsys.outbound.synapse_requests import SynapseRequests, errcode

V3 = "/_matrix/client/v3"
VERSIONS = "/_matrix/client/versions"
# Of the admin API; anybody is told this.
ADMIN = "/_synapse/admin/v1/server_version"
SUSPEND = "/_synapse/admin/v1/suspend/"
INTROSPECT = "/oauth2/introspect"
MAS = "/_synapse/mas/is_localpart_available?localpart=regsys"
# GET paths of regsys's with the statuses of its answers, none of which a Synapse gives there.
OURS: Mapping[str, Sequence[int]] = {
    f"{V3}/login": (200,),
    # No name, so that nobody is asked about it.
    f"{V3}/register/available?username=!": (400, 403, 429),
    f"{V3}/account/password": (405,),
    f"{V3}/logout": (405,),
    f"{V3}/refresh": (405,),
    "/_matrix/static/client/register/": (200,),
    # Else clients would log in by OAuth, which there is not.
    "/_matrix/client/v1/auth_metadata": (404,),
    "/_matrix/client/unstable/org.matrix.msc2965/auth_metadata": (404,),
}
# How a proxy says that nobody is behind it.
NOBODY = (502, 503, 504)
# Whose a user is whom both have is told by the time when each made it.
APART_S = 60


def peers(config: Config, delegation: DelegationConfig, http: HTTPClient) -> Sequence[Peer]:
    there = without_secrets(delegation.url)
    endpoint = delegation.endpoint
    return (
        Peer("regsys.homeserver.url", there, lambda: _ask_door(config, delegation, http)),
        Peer(
            "matrix_authentication_service.endpoint",
            "not in these files" if endpoint is None else without_secrets(endpoint),
            lambda: _ask_back(delegation, http),
        ),
        Peer(
            "public_baseurl",
            without_secrets(config.public_baseurl),
            lambda: _ask_routes(config.public_baseurl.rstrip("/"), delegation.url, http),
        ),
    )


async def _ask_door(whole: Config, config: DelegationConfig, http: HTTPClient) -> None:
    """Whether the Synapse is there, and does what we ask of it."""
    answer = await http.get(f"{config.url}{VERSIONS}", {})
    if answer.status != 200:
        raise Unreachable(f"it answers {answer.status}: does a homeserver answer there?")
    try:
        synapse = Synapse(SynapseRequests.from_config(config, http))
        await synapse.is_free(UserID("regsys", whole.server_name))
    except HomeserverUnavailable as error:
        raise Unreachable(str(error).removeprefix(f"{config.url}: ")) from None
    except RegistrationError:
        pass  # an answer, though that name is nobody's to have
    if errcode(await http.get(f"{config.url}{ADMIN}", {})) == "M_UNRECOGNIZED":
        raise Unreachable(
            "a worker of the homeserver answers there, or one that hides its admin API: write the"
            " address of its main process, as a worker serves only a part of that API"
        )
    if whole.newcomers is not None:
        # Without a token nobody is suspended.
        url = f"{config.url}{SUSPEND}@regsys:{whole.server_name}"
        if errcode(await http.send_json("PUT", url, {"suspend": True}, {})) == "M_UNRECOGNIZED":
            raise Unreachable(
                "it does not know suspension, which regsys.newcomers asks for: take a newer"
                " Synapse, or set experimental_features: {msc3823_account_suspension: true} in the"
                " homeserver's file"
            )
    _check_clock(answer)


def _check_clock(answer: Answer) -> None:
    try:
        # HTTP knows no other zone.
        there = parsedate_to_datetime(answer.date or "").replace(tzinfo=timezone.utc)
    except ValueError:
        return
    apart_s = abs((datetime.now(timezone.utc) - there).total_seconds())
    if apart_s > APART_S:
        raise Unreachable(
            f"its clock and ours are {apart_s:.0f} seconds apart: set both by NTP, as accounts of"
            " both sides are compared by time"
        )


async def _ask_back(config: DelegationConfig, http: HTTPClient) -> None:
    """Whether the Synapse can ask whose a token is. It does so about one of nobody's."""
    headers = {"Authorization": f"Bearer regsys-check-{secrets.token_hex(8)}"}
    answer = await http.get(f"{config.url}{V3}/account/whoami", {}, headers)
    if answer.status == 401:
        return
    if await _runs(config, http):
        raise Unreachable(
            f"the homeserver cannot ask whose a token is (it answers {answer.status}), though"
            " regsys answers there: in the homeserver's file, endpoint must be where the homeserver"
            " itself reaches regsys, and the secret the one of ours"
        )
    raise NotAsked(
        "the homeserver cannot ask whose a token is, since no regsys with our secret answers there:"
        " start regsys, and ask again; if it runs, write where it listens, here and in the"
        " homeserver's file"
    )


async def _runs(config: DelegationConfig, http: HTTPClient) -> bool:
    if config.endpoint is None:
        return False
    url = f"{config.endpoint.rstrip('/')}{INTROSPECT}"
    headers = {"Authorization": f"Bearer {config.secret.reveal()}"}
    try:
        answer = await http.post_form(url, {"token": "regsys-check"}, headers)
    except NoAnswer:
        return False
    return answer.status == 200


async def _ask_routes(public: str, homeserver: str, http: HTTPClient) -> Sequence[str]:
    """Whether each process answers what is its own, where clients ask; warnings of what should not
    be reached there."""
    answers = {path: await http.get(f"{public}{path}", {}) for path in OURS}
    versions, sync = f"{public}{VERSIONS}", f"{public}{V3}/sync"
    theirs = {VERSIONS: await http.get(versions, {}), f"{V3}/sync": await http.get(sync, {})}
    direct = await http.get(f"{homeserver}{VERSIONS}", {})
    lacks = []
    if theirs[VERSIONS].body == direct.body and errcode(theirs[f"{V3}/sync"]) == "M_MISSING_TOKEN":
        theirs = {}
    for who, wrong in (("regsys", _wrong(answers)), ("the homeserver", theirs)):
        if wrong:
            found = ", ".join(f"{path} ({answer.status})" for path, answer in wrong.items())
            lacks.append(f"somebody else than {who} answers {found}")
    if not lacks:
        return await _open_doors(public, homeserver, http)
    if not theirs and all(answer.status in NOBODY for answer in answers.values()):
        raise NotAsked(
            "regsys does not answer behind it: start regsys, and ask again; if it runs, have the"
            " proxy send to where it listens (docs/synapse-routes.md)"
        )
    raise Unreachable(
        f"{'; '.join(lacks)}: have the proxy send each path to its process (docs/synapse-routes.md)"
    )


async def _open_doors(public: str, homeserver: str, http: HTTPClient) -> Sequence[str]:
    """What the two processes ask each other, and only the secret protects where clients reach it.
    Each is known by how it refuses whoever does not have that."""
    there = await http.get(f"{homeserver}{MAS}", {})
    here = await http.get(f"{public}{MAS}", {})
    found = []
    if here.status == there.status and errcode(here) == errcode(there) != "M_UNRECOGNIZED":
        found.append("/_synapse/mas")
    if errcode(await http.post_form(f"{public}{INTROSPECT}", {})) == "M_MISSING_TOKEN":
        found.append(INTROSPECT)
    return [
        f"{path} can be reached there, and is not for the public: have the proxy answer it with a"
        " 404 (docs/synapse-routes.md)"
        for path in found
    ]


def _wrong(answers: Mapping[str, Answer]) -> Mapping[str, Answer]:
    """Those that are not regsys's."""
    return {path: it for path, it in answers.items() if it.status not in OURS[path]}
