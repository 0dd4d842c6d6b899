"""The arguments of ``register_user``: a Registration, or its fields."""

from __future__ import annotations

import difflib
from typing import Any, Mapping, Optional

import attr

from regsys.model import Registration
from regsys.model.typed import check_type

_FIELDS = [field.name for field in attr.fields(Registration)]
# What readers of the original handler look for, and what takes its place here.
_ORIGINAL = {
    "address": "client, a Client(address, user_agent)",
    "default_display_name": "display_name",
    "threepid": "threepids, a tuple of Threepid",
    "user_agent_ips": "clients, a tuple of Client",
}


def registration_of(
    registration: Optional[Registration], fields: Mapping[str, Any]
) -> Registration:
    """The registration, or one with these fields. TypeError for both, and for a field that there is
    not: it names the nearest one."""
    if registration is None:
        for name in fields:
            if name not in _FIELDS:
                raise TypeError(f"Registration has no field {name!r}{_hint(name)}")
        return Registration(**fields)
    check_type("registration", registration, Registration)
    if fields:
        raise TypeError("give a Registration or its fields, not both: attr.evolve changes a field")
    return registration


def _hint(name: str) -> str:
    instead = _ORIGINAL.get(name)
    if instead is not None:
        return f": here it is {instead}"
    near = difflib.get_close_matches(name, _FIELDS, 1)
    return f": did you mean {near[0]!r}?" if near else ""
