"""One process of ``regsys serve``: listeners, signals and a graceful shutdown."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import signal
import sys
import threading
from contextlib import nullcontext
from typing import Any, Callable, Optional, Sequence

from twisted.application import service
from twisted.internet import defer
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from regsys import http
from regsys.config import Config, LimitsConfig, Listener
from regsys.http.connections import (
    MOST_CONNECTIONS,
    Connections,
    PeerKeys,
    counted_by_address,
    most_connections,
)
from regsys.processes import listening, pid_file
from regsys.processes.activation import Inherited
from regsys.processes.listening import Bound, Port
from regsys.processes.manager import NOBODY, Manager
from regsys.web.operations import exposition
from regsys.web.registration_page import redirects
from regsys.wiring.subsystem import Subsystem

log = Logger()

# After the first SIGTERM: how long calls may take to end, and when the process ends in any case.
# The database rolls back what is cut off then.
GRACE_S = 8.0
LAST_S = 9.5
# From then on requests that wait for a password hash, or for a worker's master, are answered with a
# 503, so that no request goes unanswered.
HURRY_S = 6.0
# When the calls end, their answers may not be sent yet: how often this is checked before clients
# that do not read theirs are given up.
FLUSH_S = 0.05
FLUSHES = 20
# How often it is checked before that whether a request still arrives, on a connection that has been
# accepted for it: two seconds. The client would take its end for a failure.
ARRIVALS = 40
# Endpoints that a listener has only if it names them.
NOT_FOR_CLIENTS = frozenset({"health", "metrics", "replication"})


class Service(service.Service):
    """Serves a subsystem on the configured listeners until a signal stops it. It takes the whole
    process: ``stopService`` ends that, if it does not end by itself.

    ``ready`` is called once it serves. ``ended``: it has stopped, and all calls and threads have
    ended. ``bound``: the sockets of the listeners, if another process has bound them, and removes
    their files; if None, this one does, but for those that it has ``inherited``. ``goes_first``:
    of several processes that share them, whether this one, which has so many connections, should
    take the next. ``manager`` is told when it serves, reads its files again, and begins to end.
    """

    def __init__(
        self,
        config: Config,
        subsystem: Subsystem,
        reactor: Any,
        ready: Callable[[Service], None],
        bound: Optional[Sequence[Bound]] = None,
        goes_first: Callable[[int], bool] = lambda connections: True,
        inherited: Optional[Inherited] = None,
        manager: Manager = NOBODY,
    ) -> None:
        self._config = config
        self._ready = ready
        # None of these are among the subsystem's own endpoints: an embedder that mounts all of
        # those would expose metrics and calls of workers to clients, and take its root from itself.
        leads = [redirects(config)] if config.registration.enabled else []
        self._subsystem = subsystem.having(
            exposition(subsystem.process.exposed), *subsystem.for_workers, *leads
        )
        self._reactor = reactor
        self._connections = Connections.within(MOST_CONNECTIONS, reactor.seconds)
        self._bound, self._goes_first, self._inherited = bound, goes_first, inherited
        self._manager = manager
        # The sockets that this process has bound itself.
        self._own: Sequence[Bound] = ()
        self._addresses: Sequence[str] = ()
        self._ports: list[Port] = []
        self._stopping = False
        self._hurried = False
        self.ended = False

    def startService(self) -> None:
        """Listen now, and serve once the reactor runs.

        Raises CannotListen before anything is started.
        """
        super().startService()  # type: ignore[no-untyped-call]  # Twisted's
        self._connections = connections(self._config.limits, self._reactor)
        if self._bound is None:
            self._bound = self._own = listening.bind(self._config.listeners, self._inherited)
        self._addresses = listening.addresses(self._bound)
        sites = {listener: self._site(listener) for listener in self._config.listeners}
        for item in self._bound:
            self._ports.append(
                item.adopt(
                    self._reactor,
                    sites[item.listener],
                    self._config.tls,
                    lambda: self._goes_first(self._connections.count),
                )
            )
        self._reactor.callWhenRunning(self._start)
        signal.signal(signal.SIGHUP, self._on_hangup)

    def stopService(self) -> defer.Deferred[Any]:
        """Let the calls under way end, for as long as there is time (GRACE_S)."""
        super().stopService()  # type: ignore[no-untyped-call]  # Twisted's
        log.info("stopping: {count} calls under way", count=self._subsystem.in_flight.count)
        self._end_in_time()
        self._connections.is_closing = True
        for port in self._ports:
            port.stopListening()
        for item in self._own:
            item.remove_file()
        self._reactor.callLater(HURRY_S, self._hurry)
        ended = defer.Deferred.fromCoroutine(self._end())
        ended.addErrback(lambda failure: log.failure("stopping", failure))
        patience = deferLater(self._reactor, GRACE_S, lambda: None)
        stopped = defer.DeferredList([ended, patience], fireOnOneCallback=True)
        return stopped.addCallback(self._remove_pid_file)

    def run(self) -> int:
        """Serve until SIGTERM or SIGINT. Returns the exit status; raises as ``startService``."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._on_signal)
        return self.run_until_ended()

    def run_until_ended(self) -> int:
        """Serve until ``end`` is called; as ``run``, but without signals."""
        self.startService()
        self._reactor.addSystemEventTrigger("before", "shutdown", self.stopService)
        self._reactor.run(installSignalHandlers=False)
        return 0

    def end(self) -> None:
        """Stop, as after a first SIGTERM; a later call does nothing."""
        if not self._stopping:
            self._end_in_time()
            self._reactor.stop()

    def addresses(self) -> Sequence[str]:
        """The URLs and sockets at which it listens."""
        return self._addresses

    def _start(self) -> None:
        self._subsystem.start()
        # Modules and parts live as long as the process. To look at them in each full collection
        # would hold up all requests for thirty milliseconds.
        gc.collect()
        gc.freeze()
        if self._config.pid_file is not None:
            pid_file.write(self._config.pid_file)
        self._ready(self)
        self._manager.ready()

    def _remove_pid_file(self, result: object) -> None:
        if self._config.pid_file is not None:
            pid_file.remove(self._config.pid_file)

    def _on_signal(self, number: int, frame: object) -> None:
        if self._stopping:
            os._exit(1)
        self._end_in_time()
        self._reactor.callFromThread(self._reactor.stop)

    def _end_in_time(self) -> None:
        """From now on the process has LAST_S, whatever it does then."""
        if not self._stopping:
            self._stopping = True
            self._manager.stopping()
            last = threading.Timer(LAST_S, os._exit, (1,))
            last.daemon = True
            last.start()

    def _on_hangup(self, number: int, frame: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        # One that has begun to end must not say that it is ready.
        with nullcontext() if self._stopping else self._manager.reloading():
            self._subsystem.reload()

    def _hurry(self) -> None:
        self._hurried = True
        self._subsystem.hurry()

    async def _end(self) -> None:
        for _ in range(ARRIVALS):
            if not self._connections.expected:
                break
            await deferLater(self._reactor, FLUSH_S)
        await self._subsystem.stop()
        # Counted in turns of the reactor, not by time alone: on a slow machine one turn is long.
        for _ in range(FLUSHES):
            await deferLater(self._reactor, FLUSH_S)
            if not self._reactor.getWriters():
                break
        self.ended = not self._hurried

    def _site(self, listener: Listener) -> Any:
        return http.site(
            self._resource(listener),
            clock=self._reactor,
            connections=self._connections,
            keys=self._keys(listener),
        )

    def _resource(self, listener: Listener) -> Any:
        names = NOT_FOR_CLIENTS & listener.resources
        if "client" in listener.resources:
            names |= self._subsystem.endpoints - {"consent", *NOT_FOR_CLIENTS}
        if "consent" in listener.resources:
            # Its pages load our style sheet.
            names |= {"consent", "static"} & self._subsystem.endpoints
        return self._subsystem.resource(
            names,
            client_address=self._client_address(listener),
            of_modules="client" in listener.resources,
        )

    def _client_address(self, listener: Listener) -> Callable[[Any], str]:
        if not listener.x_forwarded:
            return http.peer_address
        if self._config.trusted_proxies:
            return http.rightmost_untrusted(self._config.trusted_proxies)
        return http.first_forwarded

    def _keys(self, listener: Listener) -> PeerKeys:
        """A proxy's connections carry many clients' requests and are not counted by address; if no
        proxies are named, every peer may be one."""
        if "replication" in listener.resources:
            # A worker's connections carry many clients' requests, too.
            return counted_by_address(None)
        proxies = self._config.trusted_proxies if listener.x_forwarded else ()
        return counted_by_address(None if listener.x_forwarded and not proxies else proxies)


def connections(limits: LimitsConfig, clock: IReactorTime) -> Connections:
    """As many connections as configured, and as the process's limit of descriptors allows, which
    this raises to the hard limit."""
    possible = most_connections(raise_descriptor_limit())
    if limits.connections is not None and limits.connections > possible:
        log.warn(
            "regsys.connections is {wanted}, but this process may open too few descriptors:"
            " {possible} connections at a time (raise its limit, LimitNOFILE= for systemd)",
            wanted=limits.connections,
            possible=possible,
        )
    total = min(limits.connections or possible, possible)
    made = Connections.within(total, clock.seconds, limits.connections_per_ip)
    log.info(
        "at most {total} connections at a time, {per_address} of one address",
        total=made.total,
        per_address=made.per_address,
    )
    return made


def raise_descriptor_limit() -> int:
    """Raise the soft limit of open descriptors to the hard one; returns how many may be open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):
        # Some systems have a lower limit than the hard one.
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    return MOST_CONNECTIONS * 2 if soft == resource.RLIM_INFINITY else soft


def serve(
    config: Config,
    subsystem: Subsystem,
    reactor: Any,
    introduction: str,
    inherited: Optional[Inherited] = None,
    manager: Manager = NOBODY,
) -> int:
    """Serve. Once ready, print the introduction to standard error, and one line that says so to
    standard output."""

    def ready(service: Service) -> None:
        print(introduction, file=sys.stderr, flush=True)
        print(f"regsys is ready: {' '.join(service.addresses())}", flush=True)

    serving = Service(config, subsystem, reactor, ready, inherited=inherited, manager=manager)
    status = serving.run()
    if not serving.ended:
        # Flush buffered log lines. The interpreter's own exit would do so, but it would also wait
        # for threads in the middle of hashes that are not needed any more.
        logging.shutdown()
        os._exit(status)
    return status
