"""The types of logins."""

from __future__ import annotations

# Also the type of a stage.
PASSWORD = "m.login.password"  # noqa: S105 (the name of a login type)
APPLICATION_SERVICE = "m.login.application_service"
