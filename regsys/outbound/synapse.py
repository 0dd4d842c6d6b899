"""What a Synapse offers the auth service that its accounts are left to: the calls under
``/_synapse/mas/`` that we use, with the secret that both have (contract B17).

What each answers was measured: docs/synapse.md has the table, and the tests of
``tests/outbound/test_synapse.py`` run against a Synapse and against the double.
"""

from __future__ import annotations

from typing import Any, Mapping, Optional, Sequence
from urllib.parse import urlencode

import attr

from regsys.errors import (
    HomeserverDidNothing,
    HomeserverRefusal,
    InvalidUsername,
    RegistrationError,
    UnknownToken,
    UsernameReserved,
)
from regsys.model import Client, Secret, UserID
from regsys.model.provisioning import Provisioned
from regsys.outbound.http import Answer
from regsys.outbound.synapse_requests import SynapseRequests, errcode, is_unknown

# It was asked, and has refused to look at the request.
_REFUSED = (401, 403, 404, 429)


@attr.frozen
class Synapse:
    """What is not an answer that a method documents is HomeserverUnavailable."""

    requests: SynapseRequests

    # --- Users -----------------------------------------------------------------------------

    async def is_free(self, user_id: UserID) -> bool:
        """Whether this user could be made there: its grammar, its application services and all of
        its users are asked. UsernameReserved, InvalidUsername."""
        answer = await self._get("is_localpart_available", user_id)
        if answer.status == 200:
            return True
        if errcode(answer) == "M_USER_IN_USE":
            return False
        raise self._name_refused("is_localpart_available", answer)

    async def exists(self, user_id: UserID) -> bool:
        """Whether it has a user of this name, whoever has made it. Errors as ``is_free``."""
        return not await self.is_free(user_id)

    async def provision_user(self, user_id: UserID) -> Provisioned:
        """Make the user if there is none; a user who exists is not changed. UsernameReserved,
        InvalidUsername; HomeserverDidNothing if it is certain that this call makes no user."""
        answer = await self._post("provision_user", user_id)
        # M_USER_IN_USE: somebody else has made it between this call's own look and its write.
        if errcode(answer) == "M_USER_IN_USE" or self._is_done("provision_user", answer):
            if answer.status == 201:
                return Provisioned.MADE
            return Provisioned.UNCLEAR if answer.is_repeated else Provisioned.THERE
        refusal = self._name_refused("provision_user", answer)
        if answer.status in _REFUSED and not answer.is_repeated:
            raise HomeserverDidNothing(str(refusal))
        raise refusal

    async def set_emails(self, user_id: UserID, addresses: Sequence[str]) -> None:
        """Replace the user's addresses. Synapse takes each away from whoever else has it: send only
        what our own unique key says is this user's."""
        body = {"set_emails": list(addresses)}
        answer = await self._post("provision_user", user_id, body)
        self.requests.check("provision_user", answer, 200)

    async def query_user(self, user_id: UserID) -> Optional[Mapping[str, Any]]:
        """``display_name``, ``is_suspended``, ``is_deactivated`` and more; None if there is no such
        user."""
        answer = await self._get("query_user", user_id)
        if is_unknown(answer):
            return None
        self.requests.check("query_user", answer, 200)
        return self.requests.json_object("query_user", answer)

    async def set_displayname(self, user_id: UserID, name: str) -> None:
        answer = await self._post("set_displayname", user_id, {"displayname": name})
        self.requests.check("set_displayname", answer, 200)

    async def unset_displayname(self, user_id: UserID) -> None:
        answer = await self._post("unset_displayname", user_id)
        self.requests.check("unset_displayname", answer, 200)

    async def delete_user(self, user_id: UserID, erase: bool) -> None:
        """Deactivate the user. Idempotent; a user whom it does not know is no error."""
        answer = await self._post("delete_user", user_id, {"erase": erase})
        if not is_unknown(answer):
            self.requests.check("delete_user", answer, 200)

    async def allow_cross_signing_reset(self, user_id: UserID) -> None:
        """For ten minutes the user may replace their cross-signing keys."""
        answer = await self._post("allow_cross_signing_reset", user_id)
        self.requests.check("allow_cross_signing_reset", answer, 200)

    async def register_ghost(
        self, body: Mapping[str, Any], as_token: Secret, client: Client
    ) -> UserID:
        """Pass on an application service's POST /register, which only the homeserver can do: its
        auth service makes no users in exclusive namespaces. HomeserverRefusal."""
        path = "/_matrix/client/v3/register"
        answer = await self.requests.ask("POST", path, as_token.reveal(), body, client)
        found = self.requests.json_object("register", answer)
        if answer.status == 200:
            try:
                return UserID.parse(str(found.get("user_id")))
            except ValueError:
                raise self.requests.unavailable("register", "the answer has no user_id") from None
        code, text = found.get("errcode"), found.get("error")
        if not 400 <= answer.status < 500 or not isinstance(code, str):
            raise self.requests.refused("register", answer)
        raise HomeserverRefusal(answer.status, code, self.requests.loggable(text))

    async def capabilities(self, token: Secret, client: Client) -> Mapping[str, Any]:
        """What it tells the user of this token that clients can do there. UnknownToken, which it
        may say of a token for two minutes after it was told so."""
        path = "/_matrix/client/v3/capabilities"
        answer = await self.requests.ask("GET", path, token.reveal(), None, client)
        if errcode(answer) == "M_UNKNOWN_TOKEN":
            raise UnknownToken()
        self.requests.check("capabilities", answer, 200)
        found = self.requests.json_object("capabilities", answer).get("capabilities")
        if not isinstance(found, dict):
            raise self.requests.unavailable("capabilities", "the answer has no capabilities")
        return found

    # --- Devices ---------------------------------------------------------------------------

    async def upsert_device(
        self, user_id: UserID, device_id: str, display_name: Optional[str] = None
    ) -> bool:
        """Make the device if there is none; False if it does not know the user. If
        ``display_name`` is None, the device keeps its own."""
        named = {} if display_name is None else {"display_name": display_name}
        body = {"device_id": device_id, **named}
        answer = await self._post("upsert_device", user_id, body)
        if is_unknown(answer):
            return False
        self.requests.check("upsert_device", answer, 200, 201)
        return True

    async def delete_device(self, user_id: UserID, device_id: str) -> None:
        """From now on no token of this device is valid there, whatever answer it has cached. A
        device or user whom it does not know is no error."""
        answer = await self._post("delete_device", user_id, {"device_id": device_id})
        if not is_unknown(answer):
            self.requests.check("delete_device", answer, 204)

    async def sync_devices(self, user_id: UserID, device_ids: Sequence[str]) -> None:
        """Make those that it lacks, and delete all others: only for an account that was not usable
        there until now, as it would delete the device of a login that is just being made."""
        answer = await self._post("sync_devices", user_id, {"devices": list(device_ids)})
        self.requests.check("sync_devices", answer, 200)

    # --- How they are asked ------------------------------------------------------------------

    async def _get(self, call: str, user_id: UserID) -> Answer:
        query = urlencode({"localpart": user_id.localpart})
        return await self.requests.ask("GET", f"/_synapse/mas/{call}?{query}", self._secret)

    async def _post(
        self, call: str, user_id: UserID, more: Optional[Mapping[str, Any]] = None
    ) -> Answer:
        body = {"localpart": user_id.localpart, **(more or {})}
        return await self.requests.ask("POST", f"/_synapse/mas/{call}", self._secret, body)

    @property
    def _secret(self) -> str:
        return self.requests.config.secret.reveal()

    def _is_done(self, call: str, answer: Answer) -> bool:
        """Whether it has done what the call asks for. Another server may answer 200, too."""
        if answer.status not in (200, 201):
            return False
        self.requests.json_object(call, answer)
        return True

    def _name_refused(self, call: str, answer: Answer) -> RegistrationError:
        if answer.status == 400:
            code = errcode(answer)
            if code == "M_EXCLUSIVE":
                return UsernameReserved()
            # One of its refusals has a small letter in the middle.
            if (code or "").upper() == "M_INVALID_USERNAME":
                return InvalidUsername()
        return self.requests.refused(call, answer)
