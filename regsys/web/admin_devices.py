"""The devices and pushers of accounts, for administrators."""

from __future__ import annotations

from typing import Any

from regsys.accounts.administration import Administration
from regsys.errors import BadJSON, DeviceNotFound, MissingParam
from regsys.http import Call, Endpoint, Reply
from regsys.model import UserID
from regsys.model.devices import Device
from regsys.storage.devices import DeviceStore
from regsys.storage.pushers import PusherStore
from regsys.web.account import pusher_json
from regsys.web.admin_users import ADMIN, USER, Users
from regsys.web.login import administrator


def endpoints(
    users: Users, administration: Administration, devices: DeviceStore, pushers: PusherStore
) -> list[Endpoint]:
    return [
        _all(users, devices),
        _one(users, administration, devices),
        _delete_several(users, administration),
        _whois(users),
        _pushers(users, pushers),
    ]


def _all(users: Users, devices: DeviceStore) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        user_id = (await users.of_path(call)).entry.user_id
        found = [_device_json(user_id, item) for item in await devices.of_user(user_id)]
        return Reply({"devices": found, "total": len(found)})

    return Endpoint("admin_devices", (f"{ADMIN}/v2{USER}/devices",), {"GET": get})


def _one(users: Users, administration: Administration, devices: DeviceStore) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        user_id = (await users.of_path(call)).entry.user_id
        found = await devices.find(user_id, call.path_args["device_id"])
        if found is None:
            raise DeviceNotFound()
        return Reply(_device_json(user_id, found))

    async def delete(call: Call) -> Reply:
        who = await administrator(call, users.auth)
        user_id = (await users.of_path(call)).entry.user_id
        await administration.log_out(user_id, [call.path_args["device_id"]], str(who.user_id))
        return Reply()

    path = f"{ADMIN}/v2{USER}/devices/{{device_id}}"
    return Endpoint("admin_device", (path,), {"GET": get, "DELETE": delete})


def _delete_several(users: Users, administration: Administration) -> Endpoint:
    async def post(call: Call) -> Reply:
        who = await administrator(call, users.auth)
        given = call.object().get("devices")
        if given is None:
            raise MissingParam("'devices' is missing.")
        if not isinstance(given, list) or not all(isinstance(item, str) for item in given):
            raise BadJSON("'devices' must be a list of device IDs.")
        user_id = (await users.of_path(call)).entry.user_id
        await administration.log_out(user_id, given, str(who.user_id))
        return Reply()

    path = f"{ADMIN}/v2{USER}/delete_devices"
    return Endpoint("admin_delete_devices", (path,), {"POST": post})


def _whois(users: Users) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        user_id = (await users.of_path(call)).entry.user_id
        # regsys does not record from where users come.
        sessions: list[Any] = [{"connections": []}]
        return Reply({"user_id": str(user_id), "devices": {"": {"sessions": sessions}}})

    return Endpoint("admin_whois", (f"{ADMIN}/v1/whois/{{user_id}}",), {"GET": get})


def _pushers(users: Users, pushers: PusherStore) -> Endpoint:
    async def get(call: Call) -> Reply:
        await administrator(call, users.auth)
        user_id = (await users.of_path(call)).entry.user_id
        found = [pusher_json(item) for item in await pushers.of_user(user_id)]
        return Reply({"pushers": found, "total": len(found)})

    return Endpoint("admin_pushers", (f"{ADMIN}/v1{USER}/pushers",), {"GET": get})


def _device_json(user_id: UserID, item: Device) -> dict[str, Any]:
    """In the shape that tools know; when and from where it was used is not recorded."""
    return {
        "user_id": str(user_id),
        "device_id": item.device_id,
        "display_name": item.display_name,
        "last_seen_ip": None,
        "last_seen_ts": None,
        "last_seen_user_agent": None,
    }
