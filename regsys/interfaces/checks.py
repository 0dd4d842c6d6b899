"""Limits, and the callbacks that are asked."""

from __future__ import annotations

from typing import Awaitable

from zope.interface import Interface


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
