"""The processes of one service that a parent forks: what they share, and what each of them is
(docs/workers.md)."""

from __future__ import annotations

from typing import Any, Callable, Sequence

import attr
from twisted.internet.task import LoopingCall

from regsys.config import Config, ConfigError
from regsys.config.listeners import METRICS
from regsys.metrics.shared import PUBLISH_S, SharedMetrics, Slot
from regsys.wiring import of_process
from regsys.wiring.process import open_process, prepare
from regsys.wiring.subsystem import Subsystem


@attr.frozen(kw_only=True)
class Siblings:
    """Each does all that a process alone does, jobs included, over the same database. They count
    limits together, divide the cores for hashing, and show the sum of their metrics.

    ``slots`` are in memory that they share, one for each.
    """

    config: Config
    secret: bytes = attr.field(repr=False)
    slots: Sequence[Slot]

    @classmethod
    def prepared(cls, config: Config, count: int, tell: Callable[[str], None]) -> Siblings:
        """For the parent, before it forks. Raises ConfigError, and as ``prepare``."""
        if config.database.engine == "sqlite":
            raise ConfigError(
                [
                    "--processes: an SQLite file serves one process alone — use PostgreSQL, or"
                    " leave --processes out"
                ]
            )
        _, secret = prepare(config, tell)
        return cls(config=config, secret=secret, slots=[Slot() for _ in range(count)])

    def subsystem(self, reactor: Any, number: int) -> Subsystem:
        """That of the process ``number`` (from 1). Raises as ``open_process``."""
        process = open_process(self.config, reactor, self.secret, processes=len(self.slots))
        metrics = SharedMetrics(process.metrics.registry, self.slots, number - 1)
        if any(METRICS in listener.resources for listener in self.config.listeners):
            publishing = LoopingCall(metrics.publish)
            publishing.clock = reactor
            publishing.start(PUBLISH_S)
        return of_process(self.config, reactor, attr.evolve(process, exposed=metrics))
