"""The calls that workers make to their master."""

from __future__ import annotations

import attr

from regsys.model.typed import typed


@attr.frozen(kw_only=True, field_transformer=typed)
class ReplicationCall:
    """One call of a worker, however often it is sent (contract B11.4). ``call_id`` is the worker's
    own, ``user_id`` is as it was sent, ``fingerprint`` is that of the body."""

    name: str
    user_id: str
    call_id: str
    fingerprint: str
