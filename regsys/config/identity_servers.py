"""Which identity servers may be asked, and which networks are forbidden to hosts that clients name
(contract B7.8, B7.10)."""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Mapping, Optional
from urllib.parse import urlsplit

import attr

from regsys.config.values import Reader, is_url

# No host of the public internet is in these (IANA's registries of special-purpose addresses).
PRIVATE = tuple(
    """
    10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24
    192.88.99.0/24 192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/3
    ::/96 64:ff9b:1::/48 100::/63 2001::/23 2001:db8::/32 2002::/16 3fff::/20 5f00::/16 fc00::/7
    fe80::/10 fec0::/10 ff00::/8
    """.split()
)
# "This machine": forbidden whatever the configuration says.
_ALWAYS = ("0.0.0.0/8", "::/128")
# An address with one of these prefixes leads to an IPv4 address (RFC 6052, RFC 7915).
_TRANSLATED = (IPv6Network("64:ff9b::/96"), IPv6Network("::ffff:0:0:0/96"))

_LABEL = "[0-9a-z_](?:[0-9a-z_-]{0,61}[0-9a-z_])?"
_NAME = re.compile(
    rf"(?P<host>(?:{_LABEL}\.)*{_LABEL}|\[[0-9a-f:.]{{2,45}}\])(?::(?P<port>[1-9][0-9]{{0,4}}))?"
)
MAX_NAME = 255


@attr.frozen
class Networks:
    """``denied`` networks and exceptions (``allowed``), as ``ipaddress.ip_network`` takes them."""

    denied: tuple[str, ...] = (*PRIVATE, *_ALWAYS)
    allowed: tuple[str, ...] = ()

    def forbids(self, address: str) -> bool:
        """Whether connecting to this IP address is forbidden; True for text that is none."""
        try:
            found = _untranslated(ip_address(address.partition("%")[0]))
        except ValueError:
            return True

        def within(networks: tuple[str, ...]) -> bool:
            return any(found in ip_network(network, strict=False) for network in networks)

        return within(self.denied) and not within(self.allowed)


def _untranslated(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """The address that a packet to this one reaches: the IPv4 address behind a translated one."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if any(address in network for network in _TRANSLATED):
            return IPv4Address(int(address) & 0xFFFFFFFF)
    return address


@attr.frozen(kw_only=True)
class IdentityServersConfig:
    """``urls``: those of the configured servers, without a trailing slash, by the name that clients
    use. ``others``: any other server may be asked, too, unless it is in a forbidden network.
    ``default``: the server's name if a client names none. ``may_bind``: users may bind their
    addresses."""

    urls: Mapping[str, str] = attr.field(factory=dict)
    others: bool = True
    default: Optional[str] = None
    may_bind: bool = True
    networks: Networks = Networks()


def server_name(text: str) -> Optional[str]:
    """The canonical form of ``host`` or ``host:port``; None if ``text`` is neither."""
    match = _NAME.fullmatch(text.lower()) if len(text) <= MAX_NAME else None
    if match is None or int(match["port"] or 443) > 65535:
        return None
    host, port = match["host"], match["port"]
    try:
        if host.startswith("["):
            host = f"[{IPv6Address(host[1:-1])}]"
    except ValueError:
        return None
    return host if port in (None, "443") else f"{host}:{port}"


def host_of(name: str) -> str:
    """The host of a canonical server name, an IPv6 address without its brackets."""
    match = _NAME.fullmatch(name)
    assert match is not None
    return match["host"].strip("[]")


def read_identity_servers(reader: Reader) -> IdentityServersConfig:
    section, name = reader.section("regsys"), "identity_servers"
    urls: dict[str, str] = {}
    for index, url in enumerate(section.texts(name)):
        urls.update(_read_url(section, f"{name}[{index}]", url))
    text = reader.text("default_identity_server")
    default = {} if text is None else _read_url(reader, "default_identity_server", text)
    return IdentityServersConfig(
        urls={**urls, **default},
        # An empty list allows none; without a list all are allowed.
        others=section.take(name) is None,
        default=next(iter(default), None),
        may_bind=reader.flag("enable_3pid_lookup", True),
        networks=_read_networks(reader),
    )


def _read_url(section: Reader, option: str, text: str) -> Mapping[str, str]:
    """The server's URL by its name; after a problem nothing."""
    url = text if "://" in text else f"https://{text}"
    parts = urlsplit(url) if is_url(url) else None
    found = None if parts is None else server_name(parts.netloc)
    if found is None or parts is None or parts.query or parts.fragment:
        mend = "write where the identity server answers, such as https://id.example.com"
        section.problem(option, "not the address of a website", mend, text)
        return {}
    return {found: url.rstrip("/")}


def _read_networks(reader: Reader) -> Networks:
    denied = _read_list(reader, "ip_range_blacklist")
    if reader.take("ip_range_blacklist") is None:
        denied = PRIVATE
    return Networks((*denied, *_ALWAYS), _read_list(reader, "ip_range_whitelist"))


def _read_list(reader: Reader, name: str) -> tuple[str, ...]:
    found = reader.texts(name)
    for index, text in enumerate(found):
        try:
            ip_network(text, strict=False)
        except ValueError:
            mend = "write such as 10.0.0.0/8 or fc00::/7"
            reader.problem(f"{name}[{index}]", "not a network", mend, text)
    return found
