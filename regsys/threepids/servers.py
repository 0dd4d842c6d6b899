"""What 3PIDs need of other servers: validation of phone numbers, and binding of addresses.

``regsys.outbound`` has both. A method raises Unavailable if the server cannot be asked, or if its
answer cannot be used.
"""

from __future__ import annotations

from typing import Any, Awaitable, Mapping, Optional, Protocol

from regsys.model import Secret, Threepid
from regsys.model.identity_server_bindings import Binding, IdentityServerSession


class PhoneValidationServer(Protocol):
    """An identity server that validates phone numbers for us (contract B7.8)."""

    def request_token(self, fields: Mapping[str, Any]) -> Awaitable[Mapping[str, Any]]:
        """Have a code sent. ``fields`` are the specification's, and so are those of the answer,
        which has a ``sid``. Raises DelegateRefused."""

    def submit_token(self, sid: str, client_secret: str, token: str) -> Awaitable[bool]:
        """Whether the code was right. Raises DelegateRefused."""

    def validated_threepid(self, sid: str, client_secret: str) -> Awaitable[Optional[Threepid]]:
        """What this session has validated, in its canonical form; None if nothing."""


class BindingServers(Protocol):
    """The identity servers at which users have their addresses bound (contract B7.10), by their
    names: ``host`` or ``host:port``."""

    @property
    def needs_session(self) -> bool:
        """Whether ``unbind`` needs the validation session that the address was bound with."""

    def named(self, given: Optional[str]) -> str:
        """The canonical name; that of the configured server if ``given`` is None. Raises
        MissingParam if none is configured, InvalidParam for what is no name, and
        IdentityServerForbidden."""

    def validated_threepid(
        self, server: str, token: Secret, session: IdentityServerSession
    ) -> Awaitable[tuple[str, str]]:
        """Medium and address that this session has validated there, as the server says. ``token``
        is our user's at that server. Raises IdentityServerRefused."""

    def bind(
        self, binding: Binding, token: Secret, session: IdentityServerSession
    ) -> Awaitable[None]:
        """Have the address bound to the user. Raises IdentityServerRefused."""

    def unbind(self, binding: Binding) -> Awaitable[bool]:
        """Have the address unbound. False if the server refuses or knows no such binding, or if
        the session that it needs is not known."""
