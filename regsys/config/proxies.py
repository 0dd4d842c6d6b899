"""The proxies that outbound requests go through."""

from __future__ import annotations

import base64
from typing import Mapping, Optional
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies_environment

import attr

from regsys.config.hosts import ascii_host
from regsys.config.values import Reader

_PORTS = {"http": 80, "https": 443}


@attr.frozen
class Proxy:
    """``tls``: the connection to the proxy itself uses TLS. ``authorization``: the value of
    Proxy-Authorization; None if the proxy asks for none."""

    host: str
    port: int
    tls: bool = False
    authorization: Optional[bytes] = attr.field(default=None, repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """From ``http://user:password@host:port``; only the host is required. Raises ValueError,
        whose text holds no password."""
        parts = urlsplit(text if "://" in text else f"http://{text}")
        host = ascii_host(parts.hostname or "")
        if parts.scheme not in _PORTS or host is None or not text.isascii():
            raise ValueError("not the address of a proxy")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = b"Basic " + base64.b64encode(pair.encode())
        port = parts.port or _PORTS[parts.scheme]
        return cls(host, port, parts.scheme == "https", authorization)


@attr.frozen(kw_only=True)
class ProxiesConfig:
    """``by_scheme``: the proxies for ``http`` and ``https`` URLs, if any. ``direct``: hosts (with
    their subdomains) that are asked without a proxy; ``*`` for all."""

    by_scheme: Mapping[str, Proxy] = attr.field(factory=dict)
    direct: tuple[str, ...] = ()

    def proxy_for(self, scheme: str, host: str, port: int) -> Optional[Proxy]:
        """The proxy for this server; None if it is asked directly."""
        names = (host, f"{host}:{port}")
        for direct in self.direct:
            inner = "." + direct.lstrip(".").lower()
            if direct == "*" or any(f".{name.lower()}".endswith(inner) for name in names):
                return None
        return self.by_scheme.get(scheme)


def read_proxies(reader: Reader) -> ProxiesConfig:
    """The proxies of the options; without any, those of the environment (``http_proxy``,
    ``https_proxy``, ``no_proxy``). An invalid proxy in the environment is only a warning."""
    direct = reader.texts("no_proxy_hosts")
    found = {}
    for scheme in _PORTS:
        text = reader.text(f"{scheme}_proxy")
        if text is None:
            continue
        try:
            found[scheme] = Proxy.parse(text)
        except ValueError:
            mend = "write http://host:port, with user:password@ before the host if it asks for one"
            reader.problem(f"{scheme}_proxy", "not the address of a proxy", mend)
    if found or direct:
        return ProxiesConfig(by_scheme=found, direct=direct)
    return _from_environment(reader)


def _from_environment(reader: Reader) -> ProxiesConfig:
    environment = getproxies_environment()
    found = {}
    for scheme in _PORTS:
        if scheme in environment:
            try:
                found[scheme] = Proxy.parse(environment[scheme])
            except ValueError:
                reader.warnings.append(
                    f"{scheme}_proxy in the environment is not the address of a proxy: "
                    "other servers are asked directly."
                )
    direct = tuple(filter(None, (host.strip() for host in environment.get("no", "").split(","))))
    return ProxiesConfig(by_scheme=found, direct=direct)
