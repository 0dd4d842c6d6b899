"""GET /devices, GET, PUT and DELETE /devices/{device_id}, and POST /delete_devices."""

from __future__ import annotations

import hashlib
from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.internet.interfaces import IReactorTime

from regsys import clock, json_body
from regsys.credentials.access_tokens import MAX_DEVICE_ID, MAX_DISPLAY_NAME
from regsys.errors import BadJSON, DeviceNotFound, InvalidParam, MissingParam
from regsys.http import Call, Endpoint, Reply
from regsys.model.devices import Device, WhichDevices
from regsys.storage.devices import DeviceStore
from regsys.uia.confirmation import Confirmed
from regsys.web.actors import Actors
from regsys.web.responses import client_paths


@attr.frozen(kw_only=True)
class Devices:
    """The devices of the user who asks. ``replay_window_ms``: for how long a deletion repeats its
    answer."""

    store: DeviceStore
    actors: Actors
    clock: IReactorTime
    replay_window_ms: int

    async def delete(
        self,
        call: Call,
        body: Mapping[str, Any],
        device_ids: Sequence[str],
        binding: Optional[Mapping[str, Any]] = None,
    ) -> Reply:
        """Delete these once the user has confirmed it. An unknown one is deleted already."""
        who, is_service = await self.actors.of(call)

        async def carry_out(confirmed: Confirmed) -> None:
            until_ms = clock.now_ms(self.clock) + self.replay_window_ms
            which = WhichDevices.of(device_ids)
            await self.store.delete(who.user_id, which, confirmed.session_id, until_ms)

        challenge = await self.actors.confirmed(call, body, carry_out, who, is_service, binding)
        return challenge or Reply()


def endpoints(devices: Devices) -> list[Endpoint]:
    return [_all(devices), _one(devices), _delete_several(devices)]


def _all(devices: Devices) -> Endpoint:
    async def get(call: Call) -> Reply:
        who, _ = await devices.actors.of(call)
        found = await devices.store.of_user(who.user_id)
        return Reply({"devices": [_device_json(device) for device in found]})

    return Endpoint("devices", client_paths("devices"), {"GET": get})


def _one(devices: Devices) -> Endpoint:
    async def get(call: Call) -> Reply:
        who, _ = await devices.actors.of(call)
        found = await devices.store.find(who.user_id, call.path_args["device_id"])
        if found is None:
            raise DeviceNotFound()
        return Reply(_device_json(found))

    async def put(call: Call) -> Reply:
        who, is_service = await devices.actors.of(call)
        device_id, body = call.path_args["device_id"], call.object()
        name = json_body.string(body, "display_name", limit=MAX_DISPLAY_NAME)
        if not 0 < len(device_id) <= MAX_DEVICE_ID:
            raise InvalidParam(f"A device ID has 1 to {MAX_DEVICE_ID} characters.")
        device = Device(device_id=device_id, display_name=name)
        # An application service makes the devices of its users so, without a login.
        if is_service and await devices.store.add(who.user_id, device):
            return Reply({}, status=201)
        if name is None:
            if await devices.store.find(who.user_id, device_id) is None:
                raise DeviceNotFound()
        elif not await devices.store.rename(who.user_id, device_id, name):
            raise DeviceNotFound()
        return Reply()

    async def delete(call: Call) -> Reply:
        # Clients send a body once they have something to confirm with.
        body = call.object() if call.body else {}
        return await devices.delete(call, body, [call.path_args["device_id"]])

    return Endpoint(
        "device", client_paths("devices/{device_id}"), {"GET": get, "PUT": put, "DELETE": delete}
    )


def _delete_several(devices: Devices) -> Endpoint:
    async def post(call: Call) -> Reply:
        body = call.object()
        given = body.get("devices")
        if given is None:
            raise MissingParam("'devices' is missing.")
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            raise BadJSON("'devices' must be a list of device IDs.")
        wanted = sorted(set(given))
        # What was confirmed for some devices must not delete others.
        text = "\0".join(wanted).encode("utf-8")
        binding = {"devices": hashlib.sha256(text).hexdigest()}
        return await devices.delete(call, body, wanted, binding)

    return Endpoint("delete_devices", client_paths("delete_devices"), {"POST": post})


def _device_json(device: Device) -> dict[str, Any]:
    name = {} if device.display_name is None else {"display_name": device.display_name}
    return {"device_id": device.device_id, **name}
