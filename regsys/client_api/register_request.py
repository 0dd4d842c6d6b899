"""The body of POST /register, parsed (contract B13, B16.4)."""

from __future__ import annotations

from typing import Any, Mapping, Optional

import attr

from regsys import json_body
from regsys.credentials.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from regsys.errors import InvalidUsername
from regsys.model import DeviceRequest, Secret


@attr.frozen(kw_only=True)
class RegisterRequest:
    """The parsed body. ``session_params``: the parameters that a session stores. ``empty``: there
    are none besides ``auth``."""

    session_params: Mapping[str, Any]
    wants_refresh_token: bool = False
    guest_access_token: Optional[Secret] = attr.field(default=None, repr=False)
    empty: bool = False

    @classmethod
    def from_body(cls, body: Mapping[str, Any]) -> RegisterRequest:
        """Raises BadJSON for wrong types, InvalidUsername or InvalidParam for too long values."""
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
        return cls(
            session_params={
                name: value
                for name, value in params.items()
                if value is not None and name not in stray
            },
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
