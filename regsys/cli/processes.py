"""``regsys serve --processes N``: several processes that share the listeners (docs/workers.md).

The parent checks, migrates and binds; it never imports a reactor, since it forks. Each child is a
service of its own, over the same database.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
from functools import partial
from typing import Any, Sequence

import attr
from twisted.internet.interfaces import IReadDescriptor
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from regsys import logs, wiring
from regsys.config import Config, ConfigError
from regsys.config.listeners import METRICS
from regsys.metrics.shared import PUBLISH_S, SharedMetrics, Slot
from regsys.processes import listening, pid_file
from regsys.processes.listening import Bound, Shares
from regsys.processes.prefork import Place, Prefork
from regsys.processes.service import Service
from regsys.wiring.process import CannotStart, open_process, prepare

log = Logger()


def serve(config: Config, count: int, introduction: str) -> int:
    """Serve in ``count`` processes until a signal; returns the exit status. What is said once they
    all serve is the same as that of one process."""
    _check(config)
    config = config.of_several_processes()
    _, secret = prepare(config, lambda text: print(f"regsys: {text}", file=sys.stderr, flush=True))
    shared = _Shared(
        config=config,
        secret=secret,
        bound=listening.bind(config.listeners),
        slots=[Slot() for _ in range(count)],
        shares=Shares(count),
    )
    parent = Prefork(
        count=count,
        child=shared.run,
        ready=lambda: _ready(shared, introduction),
        closing=shared.close,
        log=Logger(namespace="regsys.processes.prefork", observer=logs.Lines(sys.stderr)),
    )
    # What is here already is never looked at again, so that its pages stay shared.
    gc.collect()
    gc.freeze()
    try:
        return parent.run()
    finally:
        if config.pid_file is not None:
            pid_file.remove(config.pid_file)


def _check(config: Config) -> None:
    """Raise ConfigError for what only one process can use."""
    if config.database.engine == "sqlite":
        raise ConfigError(
            [
                "--processes: an SQLite file serves one process alone — use PostgreSQL, or leave"
                " --processes out"
            ]
        )
    if config.log_config is None:
        return
    for name in logs.LogFile.load(config.log_config).rotating:
        raise ConfigError(
            [
                f"log_config: {config.log_config}: handler {name!r} rotates its file itself, and"
                " several processes would remove each other's lines — take"
                " logging.handlers.WatchedFileHandler and let logrotate rotate it, or log to the"
                " console"
            ]
        )


def _ready(shared: _Shared, introduction: str) -> None:
    if shared.config.pid_file is not None:
        pid_file.write(shared.config.pid_file)
    print(introduction, file=sys.stderr, flush=True)
    print(f"regsys is ready: {' '.join(listening.addresses(shared.bound))}", flush=True)


@attr.frozen(kw_only=True)
class _Shared:
    """What all processes have from their parent."""

    config: Config
    secret: bytes = attr.field(repr=False)
    bound: Sequence[Bound]
    slots: Sequence[Slot]
    shares: Shares

    def close(self) -> None:
        """Take no more connections; those that no process has taken yet are closed."""
        for item in self.bound:
            item.close()
            item.remove_file()

    def run(self, place: Place) -> int:
        """One process; returns its exit status."""
        try:
            return self._serve(place)
        except (ConfigError, CannotStart) as error:
            print(f"regsys: {error}", file=sys.stderr)
            return 2
        finally:
            logging.shutdown()

    def _serve(self, place: Place) -> int:
        from twisted.internet import reactor as imported

        # The common type of all reactors lacks most of what they can do.
        reactor: Any = imported
        config = attr.evolve(self.config, pid_file=None)
        logs.begin(config.log_config, config.server_name, place.number)
        if place.replaces:
            log.warn("this process replaces one that {how}", how=place.replaces)
        process = open_process(config, reactor, self.secret, processes=len(self.slots))
        subsystem = wiring.of_process(config, reactor, process)
        metrics = SharedMetrics(process.metrics.registry, self.slots, place.number - 1)
        service = Service(
            config,
            subsystem,
            reactor,
            lambda service: place.ready(),
            bound=self.bound,
            goes_first=partial(self.shares.goes_first, place.number - 1),
            metrics=metrics,
        )
        # The parent may be told to end by the same signal: whichever tells this process first.
        signal.signal(signal.SIGTERM, lambda number, frame: reactor.callFromThread(service.end))
        reactor.addReader(_ParentsEnd(place, service))
        if any(METRICS in listener.resources for listener in config.listeners):
            LoopingCall(metrics.publish).start(PUBLISH_S)
        return service.run_until_ended()


@implementer(IReadDescriptor)
@attr.define(eq=False)
class _ParentsEnd:
    """Ends the service when the parent says so, or has died."""

    place: Place
    service: Service

    def fileno(self) -> int:
        return self.place.fileno()

    def doRead(self) -> None:
        from twisted.internet import reactor

        reactor.removeReader(self)
        self.service.end()

    def connectionLost(self, reason: Any) -> None:
        """Nothing is left to be done."""

    def logPrefix(self) -> str:
        return "parent"
