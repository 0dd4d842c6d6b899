"""How many connections clients may have, so that some cannot lock out the others (threat A27)."""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from typing import Callable, Iterable, Optional, Protocol, Sequence

import attr
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IAddress
from twisted.logger import Logger

from regsys.networks import WHOLE_SITE, address_key, site_key

# Says which keys the connections of a peer are counted under; none: they are not, but in all.
PeerKeys = Callable[[IAddress], tuple[str, ...]]

# Of the descriptors that a process may open so many are its own at least: its database, the
# other servers that it asks, and connections that are about to be closed.
OWN_DESCRIPTORS = 1024
# What more connections than these would take is memory.
MOST_CONNECTIONS = 16_384
# Many people may share an IPv4 address, and each of their browsers opens up to six.
MOST_OF_AN_ADDRESS = 256
# Seconds between two lines of the log that say that all connections are taken.
LOG_EVERY_S = 60

log = Logger()


class Connection(Protocol):
    """What is counted; hashable by identity."""

    def give_way(self) -> None:
        """Close at once: another connection takes this one's place."""


@attr.define(eq=False)
class _Group:
    """Connections that share a bound: those of one ``key``, or all if it is None. ``silent`` are
    those that wait for their clients, the longest first."""

    most: int
    key: Optional[str] = None
    count: int = 0
    silent: OrderedDict[Connection, None] = attr.field(factory=OrderedDict)


@attr.define(eq=False)
class Connections:
    """The connections of a whole process: ``total`` at most, and ``per_address`` of an address
    (IPv6: of a /64, and eight times as many of a /48).

    Where a bound is reached, the connection within it gives way that has waited for its client
    for the longest time, whether its client says nothing or a byte now and then. Only where each
    waits for an answer of ours is the new one refused.
    """

    total: int
    per_address: int
    seconds: Callable[[], float]
    _all: _Group = attr.field(init=False)
    _by_key: dict[str, _Group] = attr.field(init=False, factory=dict)
    _groups: dict[Connection, Sequence[_Group]] = attr.field(init=False, factory=dict)
    _logged_s: Optional[float] = attr.field(init=False, default=None)
    # The process ends: each connection is closed after the answer that it waits for.
    is_closing: bool = attr.field(init=False, default=False)

    @classmethod
    def within(
        cls, total: int, seconds: Callable[[], float], per_address: Optional[int] = None
    ) -> Connections:
        """If ``per_address`` is None, it is chosen to suit the total."""
        chosen = max(1, min(MOST_OF_AN_ADDRESS, total // WHOLE_SITE))
        return cls(total, per_address or chosen, seconds)

    def __attrs_post_init__(self) -> None:
        self._all = _Group(self.total)

    def admit(self, connection: Connection, keys: tuple[str, ...]) -> bool:
        """Count a new connection; False: there is no place for it, and it is to be closed.

        ``keys`` are those of its address, the narrowest first."""
        if self._all.count >= self.total:
            self._log_full()
        # Those of its own address first: one that gives way there makes room in all as well.
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
        self.falls_silent(connection)
        return True

    def falls_silent(self, connection: Connection) -> None:
        """From now on it waits for its client: for a request, or the rest of one."""
        for group in self._groups.get(connection, ()):
            group.silent[connection] = None

    def is_served(self, connection: Connection) -> None:
        """From now on its client waits for us."""
        for group in self._groups.get(connection, ()):
            group.silent.pop(connection, None)

    def closed(self, connection: Connection) -> None:
        """It is not there any more; what is not counted is ignored."""
        for group in self._groups.pop(connection, ()):
            group.silent.pop(connection, None)
            group.count -= 1
            if group.key is not None and not group.count:
                del self._by_key[group.key]

    def _make_room(self, group: _Group) -> bool:
        if group.count < group.most:
            return True
        oldest = next(iter(group.silent), None)
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
    """How many connections a process may hold that may open so many descriptors."""
    return min(descriptors - min(OWN_DESCRIPTORS, descriptors // 2), MOST_CONNECTIONS)


def counted_by_address(proxies: Optional[Iterable[str]] = ()) -> PeerKeys:
    """The keys of peers that are clients. Those that speak for many clients have none: Unix
    sockets, this machine itself, and ``proxies`` (addresses or networks; None: every peer)."""
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
