"""``regsys serve --processes N``: several processes that share the listeners (docs/workers.md).

The parent checks, migrates and binds; it never imports a reactor, since it forks. What the children
share is decided in ``wiring/siblings.py``.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
from functools import partial
from typing import Any, Optional, Sequence

import attr
from twisted.internet.interfaces import IReadDescriptor
from twisted.logger import Logger
from zope.interface import implementer

from regsys import logs
from regsys.config import Config, ConfigError
from regsys.processes import listening, pid_file
from regsys.processes.activation import Inherited
from regsys.processes.listening import Bound, Shares
from regsys.processes.manager import NOBODY, Manager
from regsys.processes.prefork import Place, Prefork
from regsys.processes.service import Service
from regsys.wiring.process import CannotStart
from regsys.wiring.siblings import Siblings

log = Logger()


def serve(
    config: Config,
    count: int,
    introduction: str,
    inherited: Optional[Inherited] = None,
    manager: Manager = NOBODY,
) -> int:
    """Serve in ``count`` processes until a signal; returns the exit status. What is said once they
    all serve is the same as that of one process."""
    _check_log(config)
    tell = lambda text: print(f"regsys: {text}", file=sys.stderr, flush=True)  # noqa: E731
    shared = _Shared(
        siblings=Siblings.prepared(config, count, tell),
        bound=listening.bind(config.listeners, inherited),
        shares=Shares(count),
    )
    parent = Prefork(
        count=count,
        child=shared.run,
        ready=lambda: _ready(shared, introduction),
        closing=shared.close,
        log=Logger(namespace="regsys.processes.prefork", observer=logs.Lines(sys.stderr)),
        manager=manager,
    )
    # What is here already is never looked at again, so that its pages stay shared.
    gc.collect()
    gc.freeze()
    try:
        return parent.run()
    finally:
        if config.pid_file is not None:
            pid_file.remove(config.pid_file)


def _check_log(config: Config) -> None:
    """Raise ConfigError for a log that only one process can write."""
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
    path = shared.siblings.config.pid_file
    if path is not None:
        pid_file.write(path)
    print(introduction, file=sys.stderr, flush=True)
    print(f"regsys is ready: {' '.join(listening.addresses(shared.bound))}", flush=True)


@attr.frozen(kw_only=True)
class _Shared:
    """What all processes have from their parent."""

    siblings: Siblings
    bound: Sequence[Bound]
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
        config = attr.evolve(self.siblings.config, pid_file=None)
        logs.begin(config.log_config, config.server_name, place.number)
        if place.replaces:
            log.warn("this process replaces one that {how}", how=place.replaces)
        service = Service(
            config,
            self.siblings.subsystem(reactor, place.number),
            reactor,
            lambda service: place.ready(),
            bound=self.bound,
            goes_first=partial(self.shares.goes_first, place.number - 1),
        )
        # The parent may be told to end by the same signal: whichever tells this process first.
        signal.signal(signal.SIGTERM, lambda number, frame: reactor.callFromThread(service.end))
        reactor.addReader(_ParentsEnd(place, service))
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
