"""Newcomers who may not speak yet."""

from __future__ import annotations

import attr

from regsys.model.identity import UserID


@attr.frozen
class SuspendedNewcomer:
    user_id: UserID
    suspended_ms: int
