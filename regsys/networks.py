"""Whose an IP address is, as far as limits care (contract B16.10, threat A29).

A line of the internet brings one IPv4 address, or a whole IPv6 network: a /64 at least, and
often a /48 with 65,536 of those. So IPv6 counts by /64, and once more by /48.
"""

from __future__ import annotations

import ipaddress
from typing import Optional, Union

# How many times as much as a /64 a whole /48 may do.
WHOLE_SITE = 8
# Where translators put IPv4 addresses (RFC 6052).
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")

_BITS = 128


def unwrapped(
    ip: Union[ipaddress.IPv4Address, ipaddress.IPv6Address],
) -> Union[ipaddress.IPv4Address, ipaddress.IPv6Address]:
    """The IPv4 address inside an IPv6 one, where there is one; else the same."""
    if isinstance(ip, ipaddress.IPv4Address):
        return ip
    if ip in _TRANSLATED:
        return ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF)
    return ip.ipv4_mapped or ip


def address_key(address: str) -> str:
    """Whose limit an address falls under: its own, or for IPv6 that of its /64.

    IPv4 inside IPv6 counts as IPv4, and an IPv6 zone does not count; what is no IP address (the
    peer at a Unix socket) stays as it is.
    """
    if ":" not in address:
        return address
    try:
        ip = unwrapped(ipaddress.IPv6Address(address.partition("%")[0]))
    except ValueError:
        return address
    return str(ip) if isinstance(ip, ipaddress.IPv4Address) else _network(ip, 64)


def site_key(key: str) -> Optional[str]:
    """The key of the /48 around a key that ends in that of an IPv6 address; None for others.

    What stands before the address in the key stays in front of it.
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
