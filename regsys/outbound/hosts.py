"""Connections and TLS to any host that a resolver may know.

Twisted passes each name through IDNA, which refuses names that resolvers take: with an underscore,
as in networks of containers, or with hyphens in the third and fourth place.
"""

from __future__ import annotations

from typing import Any, Optional

from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator, IStreamClientEndpoint
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web.client import URI
from twisted.web.iweb import IAgentEndpointFactory, IPolicyForHTTPS
from zope.interface import implementer

# What may be wrong with a certificate.
OTHER_NAME = "is made out to another name"
UNTRUSTED = "this machine does not trust, or that has expired"
# No certificate has this name (RFC 6761): should a later Twisted ignore the name that is set below,
# every connection fails.
_INVALID_NAME = "host.invalid"


class HostEndpoint(HostnameEndpoint):
    """HostnameEndpoint without IDNA: the ASCII name goes to the resolver as it is."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        return False, text.encode("ascii"), text


def endpoint_to(
    reactor: Any, host: str, port: int, is_tls: bool, timeout_s: float
) -> IStreamClientEndpoint:
    """``timeout_s``: for connecting."""
    plain: IStreamClientEndpoint = HostEndpoint(reactor, host, port, timeout=timeout_s)
    return wrapClientTLS(tls_to(host), plain) if is_tls else plain


def netloc(host: str, port: int) -> str:
    """As a URL has it, and the header Host."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def tls_to(host: str, trust_root: Any = None) -> IOpenSSLClientConnectionCreator:
    """TLS options for this host, whose name its certificate must have. ``trust_root``: as
    Twisted's; None for this machine's authorities."""
    # A trailing dot is no part of the name in a certificate (RFC 6066, 3).
    host = host.removesuffix(".")
    try:
        return optionsForClientTLS(host, trust_root)
    except UnicodeError:
        options: Any = optionsForClientTLS(_INVALID_NAME, trust_root)
    options._hostname = options._hostnameASCII = host
    options._hostnameBytes = host.encode("ascii")
    creator: IOpenSSLClientConnectionCreator = options
    return creator


@implementer(IPolicyForHTTPS)
class TLSPolicy:
    """Certificates are verified as browsers do it. ``trust_root``: as in ``tls_to``."""

    def __init__(self, trust_root: Any = None) -> None:
        self._trust_root = trust_root

    def creatorForNetloc(self, hostname: bytes, port: int) -> IOpenSSLClientConnectionCreator:
        return tls_to(hostname.decode("ascii"), self._trust_root)


@implementer(IAgentEndpointFactory)
class DirectEndpoints:
    """Endpoints for the host of a URL, with TLS if its scheme is https."""

    def __init__(self, reactor: Any, policy: IPolicyForHTTPS, timeout_s: float) -> None:
        self._reactor = reactor
        self._policy = policy
        self._timeout_s = timeout_s

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        plain = HostEndpoint(self._reactor, uri.host, uri.port, self._timeout_s)
        if uri.scheme == b"http":
            return plain
        return wrapClientTLS(self._policy.creatorForNetloc(uri.host, uri.port), plain)


def certificate_problem(failure: Failure) -> Optional[str]:
    """OTHER_NAME or UNTRUSTED if the connection ended because of its certificate; else None."""
    error = failure.value
    if type(error).__name__ == "VerificationError":
        return OTHER_NAME
    if "certificate verify failed" in repr(error):
        return UNTRUSTED
    return None
