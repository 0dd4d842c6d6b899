"""How many connections clients may have, so that none can lock out the others (threat A27)."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Callable, Iterable, Optional, Protocol, Sequence

import attr
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from regsys.model.networks import WHOLE_SITE, address_key, site_key

# The keys under which a peer's connections are counted; without any they count in the total only.
PeerKeys = Callable[[IAddress], tuple[str, ...]]

# Descriptors that are kept for other uses: the database, outbound connections, and client
# connections that are about to be closed.
OWN_DESCRIPTORS = 1024
# More connections would take too much memory.
MOST_CONNECTIONS = 16_384
# Many users may share an IPv4 address, and each browser opens up to six connections.
MOST_OF_AN_ADDRESS = 256
# Seconds between two log lines that say that all connections are taken.
LOG_EVERY_S = 60

log = Logger()


class Connection(Protocol):
    """A counted connection; hashable by identity."""

    def give_way(self) -> None:
        """Close at once: another connection takes this one's place."""


@attr.define(eq=False)
class _Group:
    """Connections that share a bound: those of one ``key``, or all if it is None. ``idle``: those
    that wait for their clients, the longest first."""

    most: int
    key: Optional[str] = None
    count: int = 0
    idle: OrderedDict[Connection, None] = attr.field(factory=OrderedDict)


@attr.define(eq=False)
class Connections:
    """The connections of a whole process: ``total`` at most, and ``per_address`` from one address
    (for IPv6 from a /64, and eight times as many from a /48).

    At a bound a new connection replaces the one within it that has waited for its client for the
    longest time, even if that client sends a byte now and then. The new one is refused only if all
    the others wait for an answer of ours.
    """

    total: int
    per_address: int
    seconds: Callable[[], float]
    _all: _Group = attr.field(init=False)
    _by_key: dict[str, _Group] = attr.field(init=False, factory=dict)
    _groups: dict[Connection, Sequence[_Group]] = attr.field(init=False, factory=dict)
    _logged_s: Optional[float] = attr.field(init=False, default=None)
    _expecting: set[Connection] = attr.field(init=False, factory=set)
    # The process is stopping: each connection is closed after its current answer.
    is_closing: bool = attr.field(init=False, default=False)

    @classmethod
    def within(
        cls, total: int, seconds: Callable[[], float], per_address: Optional[int] = None
    ) -> Connections:
        """If ``per_address`` is None, it follows from the total."""
        chosen = max(1, min(MOST_OF_AN_ADDRESS, total // WHOLE_SITE))
        return cls(total, per_address or chosen, seconds)

    def __attrs_post_init__(self) -> None:
        self._all = _Group(self.total)

    @property
    def count(self) -> int:
        return self._all.count

    @property
    def expected(self) -> int:
        """How many requests are on their way: of connections that have had none yet, or of which a
        part has arrived."""
        return len(self._expecting)

    def admit(self, connection: Connection, keys: tuple[str, ...]) -> bool:
        """Count a new connection; False if there is no place, and it must be closed.

        ``keys``: those of its address, the narrowest first."""
        if self._all.count >= self.total:
            self._log_full()
        # Its own address first: a connection that gives way there makes room in the total, too.
        full = (self._by_key.get(key) for key in keys)
        if not all(self._make_room(group) for group in (*full, self._all) if group is not None):
            return False
        groups = [self._all]
        for number, key in enumerate(keys):
            if key not in self._by_key:
                self._by_key[key] = _Group(self.per_address * WHOLE_SITE**number, key)
            groups.append(self._by_key[key])
        for group in groups:
            group.count += 1
        self._groups[connection] = groups
        self._expecting.add(connection)
        self.mark_idle(connection)
        return True

    def mark_arriving(self, connection: Connection) -> None:
        """A part of a request has arrived."""
        if connection in self._groups:
            self._expecting.add(connection)

    def mark_idle(self, connection: Connection) -> None:
        """The connection now waits for its client: for a request, or the rest of one."""
        for group in self._groups.get(connection, ()):
            group.idle[connection] = None

    def mark_busy(self, connection: Connection) -> None:
        """The client now waits for us."""
        self._expecting.discard(connection)
        for group in self._groups.get(connection, ()):
            group.idle.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """The connection has ended; one that is not counted is ignored."""
        self._expecting.discard(connection)
        for group in self._groups.pop(connection, ()):
            group.idle.pop(connection, None)
            group.count -= 1
            if group.key is not None and not group.count:
                del self._by_key[group.key]

    def _make_room(self, group: _Group) -> bool:
        if group.count < group.most:
            return True
        oldest = next(iter(group.idle), None)
        if oldest is None:
            return False
        self.closed(oldest)
        oldest.give_way()
        return True

    def _log_full(self) -> None:
        now_s = self.seconds()
        if self._logged_s is None or not 0 <= now_s - self._logged_s < LOG_EVERY_S:
            self._logged_s = now_s
            log.warn(
                "all {total} connections are taken: for each new one the one that has been silent"
                " for the longest time is closed",
                total=self.total,
            )


def most_connections(descriptors: int) -> int:
    """How many connections a process may have if it may open so many descriptors."""
    return min(descriptors - min(OWN_DESCRIPTORS, descriptors // 2), MOST_CONNECTIONS)


def counted_by_address(proxies: Optional[Iterable[str]] = ()) -> PeerKeys:
    """A function that returns the keys of a peer. Peers that carry many clients' requests have
    none: Unix sockets, this machine itself, and ``proxies`` (addresses or networks; None for every
    peer)."""
    networks = None if proxies is None else [ipaddress.ip_network(proxy) for proxy in proxies]

    def keys(peer: IAddress) -> tuple[str, ...]:
        if networks is None or not isinstance(peer, (IPv4Address, IPv6Address)):
            return ()
        key = address_key(peer.host)
        address = ipaddress.ip_address(peer.host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None) or address
        if mapped.is_loopback or any(mapped in network for network in networks):
            return ()
        site = site_key(key)
        return (key,) if site is None else (key, site)

    return keys
