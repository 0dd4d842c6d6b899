"""The audit log (docs/audit.md)."""

from __future__ import annotations

import attr

from regsys.config.values import DAY_MS, Reader


@attr.frozen(kw_only=True)
class AuditConfig:
    """``enabled``: whether anything is written. ``retention_ms``: how long entries are kept, also
    those from before it was switched off. ``addresses``: ``whole``, their ``network``, or
    ``none``."""

    enabled: bool = False
    retention_ms: int = 90 * DAY_MS
    addresses: str = "network"


_AUDIT = AuditConfig()


def read_audit(section: Reader) -> AuditConfig:
    return AuditConfig(
        enabled=section.flag("enabled"),
        retention_ms=section.duration("retention") or _AUDIT.retention_ms,
        addresses=section.choice("addresses", ("whole", "network", "none")) or _AUDIT.addresses,
    )
