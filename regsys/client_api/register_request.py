"""The body of POST /register, parsed (contract B13, B16.4)."""

from __future__ import annotations

import json
from typing import Any, Container, Mapping, Optional

import attr

from regsys import json_body
from regsys.accounts.shadow_server import BINDS
from regsys.credentials.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from regsys.errors import InvalidUsername, TooLarge
from regsys.model import DeviceRequest, Secret

# The limit of a session's parameters as JSON, where it stores all of them.
MAX_PARAMS = 8192
_SECRETS = frozenset({"auth", "password", "guest_access_token"})


@attr.frozen(kw_only=True)
class RegisterRequest:
    """The parsed body. ``session_params``: the parameters that a session stores. ``empty``: there
    are none besides ``auth``."""

    session_params: Mapping[str, Any]
    wants_refresh_token: bool = False
    guest_access_token: Optional[Secret] = attr.field(default=None, repr=False)
    empty: bool = False

    @classmethod
    def from_body(
        cls, body: Mapping[str, Any], keeps_all: bool = False, keeps_binds: bool = False
    ) -> RegisterRequest:
        """Raises BadJSON for wrong types, InvalidUsername or InvalidParam for too long values.
        ``keeps_all``: the session stores every parameter, unknown ones too, but for secrets;
        TooLarge for more than MAX_PARAMS. ``keeps_binds``: it stores those that a shadow server is
        told."""
        refresh = json_body.boolean(body, "refresh_token")
        username = json_body.string(body, "username")
        if username is not None and len(username) > json_body.MAX_NAME:
            raise InvalidUsername(f"A user name may have at most {json_body.MAX_NAME} characters.")
        guest = json_body.string(body, "guest_access_token")
        # A known client sends its device's display name alone, which has no meaning (B16.4).
        given = json_body.given(body)
        stray = {"auth"} if "password" in given else {"auth", "initial_device_display_name"}
        params = {
            "username": username,
            "device_id": json_body.string(body, "device_id", limit=MAX_DEVICE_ID),
            "initial_device_display_name": json_body.string(
                body, "initial_device_display_name", limit=MAX_DISPLAY_NAME
            ),
            "inhibit_login": json_body.boolean(body, "inhibit_login") or None,
        }
        if keeps_binds:
            params.update((name, json_body.boolean(body, name) or None) for name in BINDS)
        kept: Mapping[str, Any] = {
            name: value for name, value in params.items() if value is not None and name not in stray
        }
        if keeps_all:
            kept = _all_params(body, stray)
        return cls(
            session_params=kept,
            wants_refresh_token=refresh,
            guest_access_token=None if guest is None else Secret(guest),
            empty=given <= stray,
        )

    def device(self, params: Mapping[str, Any]) -> Optional[DeviceRequest]:
        """The device that the session's ``params`` ask for; None for ``inhibit_login``."""
        if params.get("inhibit_login"):
            return None
        return DeviceRequest(
            device_id=params.get("device_id"),
            display_name=params.get("initial_device_display_name"),
            wants_refresh_token=self.wants_refresh_token,
        )


def _all_params(body: Mapping[str, Any], stray: Container[str]) -> Mapping[str, Any]:
    kept = {
        name: value
        for name, value in body.items()
        if value is not None and name not in _SECRETS and name not in stray
    }
    if len(json.dumps(kept, ensure_ascii=False).encode("utf-8")) > MAX_PARAMS:
        raise TooLarge(f"The parameters may have at most {MAX_PARAMS} bytes.")
    return kept
