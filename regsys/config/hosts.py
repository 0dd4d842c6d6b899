"""Host names as resolvers take them, including container names with an underscore."""

from __future__ import annotations

import ipaddress
import re
from typing import Optional

import idna

MAX_HOST = 253
# Resolvers know names that IDNA refuses, such as ``mail_relay`` in a network of containers.
_LABEL = re.compile(r"[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?")


def ascii_host(text: str) -> Optional[str]:
    """The host in lower case and A-labels, an IP address without brackets; None if ``text`` is not
    a host, for instance because it has a port."""
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    if is_ip_address(bare):
        return bare.lower()
    if not text.isascii():
        try:
            text = idna.encode(text, uts46=True).decode("ascii")
        except idna.IDNAError:
            return None
    host = text.lower()
    labels = host.removesuffix(".").split(".")
    if len(host) > MAX_HOST or not all(map(_LABEL.fullmatch, labels)):
        return None
    # A name that ends in a number is an address or a mistake in one (RFC 3696, 2).
    return None if labels[-1].isdigit() and len(labels) > 1 else host


def is_ip_address(text: str) -> bool:
    """Whether it is an IPv4 or IPv6 address, without brackets."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True
