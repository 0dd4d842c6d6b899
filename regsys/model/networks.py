"""The keys under which limits count IP addresses (contract B16.10, threat A29).

An internet connection has one IPv4 address, or an IPv6 network: at least a /64, and often a /48
with 65,536 of those. So IPv6 counts by /64, and also by /48.
"""

from __future__ import annotations

import ipaddress
from typing import Optional, Union

# The limit of a /48 is so many times that of a /64.
WHOLE_SITE = 8
# The prefix of translated IPv4 addresses (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")

_BITS = 128
# Of one customer, or of one institution.
_NETWORK_BITS_4, _NETWORK_BITS_6 = 24, 48


def unwrapped(
    ip: Union[ipaddress.IPv4Address, ipaddress.IPv6Address],
) -> Union[ipaddress.IPv4Address, ipaddress.IPv6Address]:
    """The IPv4 address inside an IPv6 one, if there is one; else the address itself."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip


def address_key(address: str) -> str:
    """The key of an address: the address itself, or for IPv6 its /64.

    IPv4 inside IPv6 counts as IPv4, and an IPv6 zone is ignored. Text that is no IP address (the
    peer at a Unix socket) is returned as it is.
    """
    if ":" not in address:
        return address
    try:
        ip = unwrapped(ipaddress.IPv6Address(address.partition("%")[0]))
    except ValueError:
        return address
    return str(ip) if isinstance(ip, ipaddress.IPv4Address) else _network(ip, 64)


def network_of(address: str) -> str:
    """The network of an address, or of an ``address_key``: the /24 of IPv4, the /48 of IPv6. Text
    that is no IP address is returned as it is."""
    try:
        ip = unwrapped(ipaddress.ip_address(address.partition("%")[0].removesuffix("/64")))
    except ValueError:
        return address
    if isinstance(ip, ipaddress.IPv6Address):
        return _network(ip, _NETWORK_BITS_6)
    kept = int(ip) >> (32 - _NETWORK_BITS_4) << (32 - _NETWORK_BITS_4)
    return f"{ipaddress.IPv4Address(kept)}/{_NETWORK_BITS_4}"


def site_key(key: str) -> Optional[str]:
    """The /48's key for a key that ends in an IPv6 address's; None for any other key.

    Words before the address are kept.
    """
    if not key.endswith("/64"):
        return None
    words, _, last = key.rpartition(" ")
    network = last.partition("/")[0]
    if ":" not in network:
        return None
    site = _network(ipaddress.IPv6Address(network), 48)
    return f"{words} {site}" if words else site


def _network(ip: ipaddress.IPv6Address, bits: int) -> str:
    kept = int(ip) >> (_BITS - bits) << (_BITS - bits)
    return f"{ipaddress.IPv6Address(kept)}/{bits}"
