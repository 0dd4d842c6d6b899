"""All that there is about one registration, for ``regsys users show``."""

from __future__ import annotations

from typing import Any, Mapping, Sequence

from regsys.cli.tables import json_text, printable, table
from regsys.cli.times import utc
from regsys.model import UserID
from regsys.model.jobs import WaitingJob
from regsys.storage.jobs import JobStore
from regsys.storage.personal_data import PersonalDataStore
from regsys.storage.users import UserStore
from regsys.wiring.subsystem import Subsystem

# In this order, each with its heading.
HEADINGS: Mapping[str, str] = {
    "profiles": "Profile",
    "threepids": "Addresses",
    "validations": "Addresses that are being confirmed",
    "bindings": "Addresses that are published at identity servers",
    "devices": "Devices",
    "logins": "Logins",
    "pushers": "Pushers",
    "external_ids": "Accounts of other login systems",
    "consents": "Accepted policies",
    "registration_token_uses": "Registration token",
    "uia_sessions": "Dialogues",
    "active_users": "Activity",
    "milestones": "The first user of this server",
    "registration_tokens": "Registration tokens that this user has made",
    "outcomes": "Registration whose answer can be repeated",
    "provisioning": "Not known yet to the homeserver whose auth service this is",
    "adopted_users": "Adopted from a homeserver",
}


async def report(subsystem: Subsystem, user_id: UserID, *, as_json: bool) -> str:
    """Of a user who is there."""
    database = subsystem.process.database
    found = await PersonalDataStore(database).of(user_id)
    user = await UserStore(database).find(user_id.localpart)
    jobs = await JobStore(database).about(user_id)
    # What a person is not told of themselves.
    more = (
        {}
        if user is None
        else {
            "has_password": user.password_hash is not None,
            "shadow_banned": user.shadow_banned,
        }
    )
    rows = {**found, "users": [{**row, **more} for row in found.get("users", ())]}
    if as_json:
        return json_text({"user_id": str(user_id), **rows, "jobs": [_job(job) for job in jobs]})
    parts = [f"{printable(str(user_id))}\n{_facts(rows.pop('users'))}"]
    for name in sorted(rows, key=lambda name: ([*HEADINGS, name].index(name), name)):
        parts.append(f"{HEADINGS.get(name, name)}:\n{_rows(rows[name])}")
    if jobs:
        parts.append(f"Jobs that are not done yet:\n{_rows([_job(job) for job in jobs])}")
    return "\n\n".join(parts)


def _job(job: WaitingJob) -> Mapping[str, Any]:
    return {
        "job_id": job.job_id,
        "kind": job.kind,
        **{name: value for name, value in job.about.items() if name != "user_id"},
        "attempts": job.attempts,
        "created_ms": job.created_ms,
        "due_ms": job.due_ms,
        "last_error": job.last_error,
    }


def _facts(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each field."""
    fields = [item for row in rows for item in row.items()]
    return _indented(table([[_named(name), _shown(name, value)] for name, value in fields]))


def _rows(rows: Sequence[Mapping[str, Any]]) -> str:
    """A line for each row, under the names of the columns; the fields that no row has are left
    out."""
    names = [name for name in rows[0] if any(row.get(name) is not None for row in rows)]
    heads = [_named(name) for name in names]
    cells = [[_shown(name, row.get(name)) for name in names] for row in rows]
    return _indented(table([heads, *cells])) if names else "  -"


def _named(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ")


def _shown(name: str, value: Any) -> str:
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return utc(value) if name.endswith("_ms") and isinstance(value, int) else str(value)


def _indented(text: str) -> str:
    return "\n".join(f"  {line}" for line in text.split("\n"))
