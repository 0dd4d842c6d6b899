"""How a request names a user: by name, user ID or address (B13)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

from regsys import json_body
from regsys.errors import BadJSON, InvalidParam, LoginFailed
from regsys.model.canonical_threepids import CANONICAL, MSISDN, canonical_msisdn


def identifier_in(fields: Mapping[str, Any], flat_threepids: bool = False) -> Mapping[str, Any]:
    """The ``identifier`` of a request's fields, or what its old flat keys amount to: ``user``, and
    with ``flat_threepids`` also ``medium`` and ``address``."""
    identifier = json_body.mapping(fields, "identifier")
    if identifier is not None:
        return identifier
    kind, keys = "m.id.user", ["user"]
    if flat_threepids and json_body.has(fields, "medium"):
        kind, keys = "m.id.thirdparty", ["medium", "address"]
    return {"type": kind, **{key: fields[key] for key in keys if key in fields}}


def parse_localpart(identifier: Mapping[str, Any], server_name: str) -> Optional[str]:
    """The localpart in an ``m.id.user`` identifier, which may hold a whole user ID (host names
    ignore case). None for another server's user. Raises MissingParam, BadJSON or InvalidParam if no
    user is named."""
    if json_body.required_string(identifier, "type") != "m.id.user":
        raise BadJSON("This kind of identifier is not known here.")
    name = json_body.required_string(identifier, "user", limit=json_body.MAX_NAME)
    if not name.startswith("@"):
        return name
    localpart, _, server = name[1:].partition(":")
    return localpart if server.lower() == server_name.lower() else None


def parse_threepid(identifier: Mapping[str, Any]) -> Optional[tuple[str, str]]:
    """The medium and canonical address of ``m.id.thirdparty`` or ``m.id.phone``; None for another
    type. LoginFailed for text that cannot be an address."""
    kind = identifier.get("type")
    try:
        if kind == "m.id.phone":
            number = "phone" if json_body.has(identifier, "phone") else "number"
            country = json_body.required_string(identifier, "country")
            return MSISDN, canonical_msisdn(json_body.required_string(identifier, number), country)
        if kind != "m.id.thirdparty":
            return None
        medium = json_body.required_string(identifier, "medium")
        if medium not in CANONICAL:
            raise BadJSON("'medium' must be email or msisdn.")
        return medium, CANONICAL[medium](json_body.required_string(identifier, "address"))
    except InvalidParam:
        raise LoginFailed() from None
