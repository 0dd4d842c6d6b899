"""Limits, and the callbacks that are asked."""

from __future__ import annotations

from typing import Awaitable

from zope.interface import Interface

from regsys.model import Binding, UserID


class ILimiter(Interface):
    """One rate limit; ``key`` says whose."""

    def peek(key: str) -> Awaitable[None]:
        """Raises LimitExceeded if ``take`` would; counts nothing."""

    def take(key: str) -> Awaitable[None]:
        """Count one, or raise LimitExceeded and count nothing."""

    def give_back(key: str) -> Awaitable[None]:
        """Undo one ``take``."""


class IConcurrencyLimiter(Interface):
    """A limit on requests under way, rather than on their number."""

    def enter(key: str) -> Awaitable[None]:
        """Wait for one's turn, or raise LimitExceeded. Whoever got in must ``leave``."""

    def leave(key: str) -> None:
        """The request is over."""


class IThreepidRules(Interface):
    """Which addresses accounts here may have (contract B7.2)."""

    def is_allowed(medium: str, address: str, registering: bool) -> Awaitable[bool]:
        """Whether an account here may have this address (canonical form); the first no wins.
        ``registering``: it is for an account yet to be made; else for one that exists."""


class IThreepidChanges(Interface):
    """Who is asked before an account's identifiers change, and told when they have (B10.4)."""

    def check(user_id: UserID, medium: str, address: str, adding: bool) -> Awaitable[None]:
        """Raises ThreepidChangeRefused if a callback objects, Unavailable if one can't be
        asked."""

    def has_listeners() -> bool:
        """Whether additions have listeners."""

    def tell(user_id: UserID, medium: str, address: str, added: bool) -> Awaitable[None]:
        """The account has it now, or (not ``added``) has it no more. Returns when all have been
        told: what goes wrong with one of them is logged, and the others are told all the same."""


class IBindingChanges(Interface):
    """Who is asked before an identity server is to bind or unbind an address, and told when it has
    (B10.4)."""

    def check(binding: Binding, bound: bool) -> Awaitable[None]:
        """Raises as IThreepidChanges.check does. ``bound``: it is to be, else no longer."""

    def updated(binding: Binding, bound: bool) -> None:
        """It is, or is no longer. Who is told can neither fail nor delay anything."""
