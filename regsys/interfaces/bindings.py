"""What identity servers tell the world of our users: who asks them, and who remembers."""

from __future__ import annotations

from typing import Awaitable, Optional

from zope.interface import Attribute, Interface

from regsys.model import Binding, IdentityServerSession, Secret


class IIdentityServers(Interface):
    """The identity servers that may be asked, by their names (``host`` or ``host:port``).

    Each question raises Unavailable if it cannot be asked, or the answer says nothing.
    """

    needs_session: bool = Attribute("Whether ``unbind`` needs the binding's session.")

    def named(given: Optional[str]) -> str:
        """The name in its one form; None: the configured one's. Raises MissingParam where none is,
        InvalidParam for what is no name, IdentityServerForbidden."""

    def validated_threepid(
        server: str, token: Secret, session: IdentityServerSession
    ) -> Awaitable[tuple[str, str]]:
        """Medium and address that have been proven there, as it says. ``token`` is the one that the
        server has given our user. Raises IdentityServerRefused."""

    def bind(binding: Binding, token: Secret, session: IdentityServerSession) -> Awaitable[None]:
        """Have the address bound to the user. Raises IdentityServerRefused."""

    def unbind(binding: Binding) -> Awaitable[bool]:
        """Have it bound to him no longer; False if the server refuses, or knows of no such thing,
        or we have nothing to show it."""
