"""The API object: what each module gets beside its configuration (contract B10)."""

from __future__ import annotations

from typing import Any, NoReturn, Optional

from regsys.model import UserID
from regsys.modules.api_accounts import Accounts, Registrations
from regsys.modules.api_background import BackgroundMethods
from regsys.modules.api_database import DatabaseMethods
from regsys.modules.api_events import EventMethods
from regsys.modules.api_http import HttpMethods
from regsys.modules.asking import AsksServers
from regsys.modules.base import NotOffered
from regsys.modules.parts import ApiParts

__all__ = ["ApiParts", "ModuleApi", "NotOffered"]


class ModuleApi(
    Registrations, Accounts, DatabaseMethods, HttpMethods, BackgroundMethods, EventMethods
):
    """The API object of one module, which the log calls ``module``.

    Its methods have the names, and take the arguments, that modules know. Anything else raises
    NotOffered once it is called.
    """

    # --- Callbacks ---------------------------------------------------------------------------

    def register_spam_checker_callbacks(self, **callbacks: Any) -> None:
        self._register("register_spam_checker_callbacks", callbacks)

    def register_password_auth_provider_callbacks(self, **callbacks: Any) -> None:
        self._register("register_password_auth_provider_callbacks", callbacks)

    def register_account_validity_callbacks(self, **callbacks: Any) -> None:
        self._register("register_account_validity_callbacks", callbacks)

    def register_third_party_rules_callbacks(self, **callbacks: Any) -> None:
        self._register("register_third_party_rules_callbacks", callbacks)

    def _register(self, method: str, callbacks: dict[str, Any]) -> None:
        self._parts.registry.register(self._module, method, callbacks)

    # --- What the configuration says ---------------------------------------------------------

    @property
    def server_name(self) -> str:
        return self._parts.config.server_name

    @property
    def public_baseurl(self) -> str:
        """With a slash at its end."""
        return self._parts.config.public_baseurl

    @property
    def email_app_name(self) -> str:
        """What mails call this server."""
        email = self._parts.config.email
        return "Matrix" if email is None else email.app_name

    @property
    def worker_name(self) -> Optional[str]:
        """None for a main process."""
        worker = self._parts.config.worker
        return None if worker is None else worker.name

    @property
    def worker_app(self) -> Optional[str]:
        """None for a main process."""
        worker = self._parts.config.worker
        return None if worker is None else worker.app

    def should_run_background_tasks(self) -> bool:
        """Whether this process is the one that runs what must run once: the main process."""
        return self._parts.config.worker is None

    def get_qualified_user_id(self, username: str) -> str:
        """The user ID of this localpart; a user ID is returned as it is."""
        if username.startswith("@"):
            return username
        return str(UserID(username, self.server_name))

    def is_mine(self, id: object) -> bool:
        """Whether this user ID, or other ID with a server name, is of this server."""
        return str(id).partition(":")[2] == self.server_name

    # --- Everything else ---------------------------------------------------------------------

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            # The inside of a homeserver. At once, so that copying and inspection work.
            raise AttributeError(f"ModuleApi.{name}: regsys has no such inside of a homeserver")
        if self._parts.registry.knows(name):
            return lambda **callbacks: self._register(name, callbacks)

        def not_offered(*args: object, **kwargs: object) -> NoReturn:
            raise self._not_offered(name, "regsys does not offer this, see docs/modules.md")

        return not_offered


def policy_servers(api: ModuleApi) -> AsksServers:
    """What asks other servers, for modules of ours."""
    return api._parts.policy_servers
