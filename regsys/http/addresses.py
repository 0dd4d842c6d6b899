"""The client's address of a request: the policies of contract B16.10.

A policy takes a request and returns the address as text: IPv4, or IPv6 in its short form (an
IPv4-mapped address becomes IPv4, or all of those would share one limit), or ``unix`` for a Unix
socket without a usable header.
"""

from __future__ import annotations

import ipaddress
import socket
from typing import Callable, Iterable, Optional, Union

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.web.iweb import IRequest

AddressPolicy = Callable[[IRequest], str]
_IP = Union[ipaddress.IPv4Address, ipaddress.IPv6Address]

UNIX = "unix"


def peer_address(request: IRequest) -> str:
    """The address at the other end of the connection; headers are ignored."""
    peer = request.getClientAddress()
    if isinstance(peer, IPv4Address):
        return peer.host
    if isinstance(peer, IPv6Address):
        return str(_parse(peer.host) or peer.host)
    return UNIX


def first_forwarded(request: IRequest) -> str:
    """The first address of X-Forwarded-For, which a client can forge; the peer's if there is none.
    For listeners that only a proxy can reach."""
    hops = _forwarded(request)
    if hops and _is_plain_ipv4(hops[0]):
        return hops[0]
    address = _parse(hops[0]) if hops else None
    return str(address) if address else peer_address(request)


def rightmost_untrusted(proxies: Iterable[str]) -> AddressPolicy:
    """The policy for known proxies: the rightmost address of X-Forwarded-For that is not one of
    ``proxies`` (addresses or networks), which one of these proxies has seen itself.

    The header counts only if the peer is listed or is a Unix socket. An invalid entry ends the
    search: the address to its right is taken. Raises ValueError if a proxy is neither an address
    nor a network.
    """
    if isinstance(proxies, (str, bytes)):
        raise TypeError(f"rightmost_untrusted({proxies!r}): pass a list of addresses and networks")
    networks = [ipaddress.ip_network(proxy, strict=False) for proxy in proxies]

    def is_trusted(address: _IP) -> bool:
        return any(address in network for network in networks)

    def policy(request: IRequest) -> str:
        client = peer_address(request)
        peer = _parse(client)
        if client != UNIX and (peer is None or not is_trusted(peer)):
            return client
        for hop in reversed(_forwarded(request)):
            address = _parse(hop)
            if address is None:
                break
            client = str(address)
            if not is_trusted(address):
                break
        return client

    return policy


def _forwarded(request: IRequest) -> list[str]:
    """The entries of all X-Forwarded-For headers together."""
    headers = request.requestHeaders.getRawHeaders(b"X-Forwarded-For")
    return b",".join(headers).decode("latin-1").split(",") if headers else []


def _is_plain_ipv4(text: str) -> bool:
    """Whether this is an IPv4 address as we write it; costs much less than to parse it."""
    try:
        return socket.inet_ntop(socket.AF_INET, socket.inet_pton(socket.AF_INET, text)) == text
    except (OSError, ValueError):
        return False


def _parse(text: str) -> Optional[_IP]:
    """The IP address, without port, brackets or zone; None if ``text`` is not one."""
    text = text.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
