"""What a homeserver says of a user whom its auth service asks about."""

from __future__ import annotations

from typing import Optional

import attr


@attr.frozen(kw_only=True)
class HomeserverUser:
    """``appservice_id``: the application service that has made the user; None if none has.
    ``created_ms`` is by the homeserver's clock, to the second."""

    appservice_id: Optional[str]
    created_ms: int
    deactivated: bool = False
