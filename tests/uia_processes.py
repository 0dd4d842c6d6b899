"""Processes of one server in one test: what each has of its own, over the database of all."""

from __future__ import annotations

from typing import Any, Callable, Optional

import attr
from twisted.internet.defer import Deferred, maybeDeferred

from regsys import build, http, subsystem
from regsys.testing import memory_backend
from tests.client import Answer, Client
from tests.riddle import Riddle
from tests.uia_model import FLOWS, Attempt


class Process:
    """One of the processes over the database. While it hashes for a request that is ``held``,
    it is asked nothing else."""

    def __init__(self, machine: Any) -> None:
        self.held: Optional[Held] = None
        self.is_slow = False
        self.hash: Callable[[], None]
        self.subsystem = build.standalone(
            machine.config,
            machine.clock,
            backend=memory_backend(
                machine.case, machine.config, machine.clock, machine.database, self.run
            ),
            hooks=subsystem.hooks(machine.clock, stages=[Riddle()], flows=FLOWS),
        )
        self.subsystem.hooks.spam.register("the machine", machine.judge)
        resource = self.subsystem.resource(client_address=http.first_forwarded)
        self.client = Client(machine.case, resource)

    def run(self, function: Callable[..., Any], *args: Any) -> Deferred[Any]:
        if not self.is_slow:
            return maybeDeferred(function, *args)
        hashing: Deferred[Any] = Deferred()
        self.hash = lambda: hashing.callback(function(*args))
        return hashing


@attr.frozen
class Held:
    """A request that waits for its hash, and the account that it is about to make."""

    started: Deferred[Answer]
    attempt: Attempt
