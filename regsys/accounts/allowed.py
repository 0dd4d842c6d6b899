"""By what rule an account is allowed, for the audit log."""

from __future__ import annotations

from typing import Any, Optional

from regsys.audit.audit_log import AuditLog
from regsys.model import NewAccount, Registration
from regsys.model.audit import Allowed, token_hint

# Whoever knows the shared secret makes accounts.
SHARED_SECRET = "shared-secret"  # noqa: S105 - a word, no secret


def by_module(name: str) -> str:
    return f"module {name}"


def of_registration(
    audit: AuditLog, asked: Registration, approved: bool, upgrades_guest: bool
) -> Optional[Allowed]:
    """Why the account of this registration is allowed; None if the log is off. ``approved``: it
    does not wait. ``upgrades_guest``: it was a guest's."""
    if not audit.is_on:
        return None
    address = None if asked.client is None else asked.client.address
    details = dict(_details(asked, approved, upgrades_guest))
    return audit.allowed(_rule(asked), by=asked.made_by, address=address, details=details)


def of_finished(audit: AuditLog, new: NewAccount, address: Optional[str]) -> Optional[Allowed]:
    """Why an account is allowed that somebody else has checked: another process, or the program
    that embeds regsys."""
    if new.allowed is not None:
        return new.allowed
    return audit.allowed("program" if new.call is None else "worker", address=address)


def _rule(asked: Registration) -> str:
    if asked.made_by == SHARED_SECRET:
        return SHARED_SECRET
    if asked.by_admin:
        return "administrator"
    if asked.make_guest:
        return "guest"
    if asked.made_by is not None:
        return "module"
    return "flow" if asked.stages else "program"


def _details(asked: Registration, approved: bool, upgrades_guest: bool) -> Any:
    if asked.stages:
        yield "stages", list(asked.stages)
    if asked.registration_token is not None:
        yield "registration_token", token_hint(asked.registration_token)
    # Not whether it is shadow-banned: its person may ask for what is kept about them.
    if asked.admin:
        yield "admin", True
    if upgrades_guest:
        yield "upgrades_guest", True
    if not approved:
        yield "waits_for_approval", True
