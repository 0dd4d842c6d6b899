"""The client of ``regsys.testing``, under the name that our tests have for it."""

from __future__ import annotations

from regsys.testing.client import V3, Answer, Client

__all__ = ["V3", "Answer", "Client"]
