"""Connections and TLS to any host that a resolver may know.

Twisted passes each name through IDNA, which refuses what resolvers take: an underscore, as in the
networks of containers, or hyphens in the third and fourth place.
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
# No certificate is made out to it (RFC 6761): if Twisted came to ignore the name that is set
# below, every connection would fail.
_NOBODY = "host.invalid"


class HostEndpoint(HostnameEndpoint):
    """Twisted's, for a host in ASCII, which the resolver judges."""

    @staticmethod
    def _hostAsBytesAndText(host: bytes | str) -> tuple[bool, bytes, str]:
        text = host.decode("ascii") if isinstance(host, bytes) else host
        return False, text.encode("ascii"), text


def tls_to(host: str, trust_root: Any = None) -> IOpenSSLClientConnectionCreator:
    """How to begin TLS with this host, which its certificate must be made out to.
    ``trust_root``: as Twisted's; None if whom this machine trusts."""
    # A root dot is no part of the name in a certificate (RFC 6066, 3).
    host = host.removesuffix(".")
    try:
        return optionsForClientTLS(host, trust_root)
    except UnicodeError:
        options: Any = optionsForClientTLS(_NOBODY, trust_root)
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
    """Leads to the host of a URL, by TLS where it begins with ``https``."""

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
    """OTHER_NAME or UNTRUSTED, if a connection ended because of that; else None."""
    error = failure.value
    if type(error).__name__ == "VerificationError":
        return OTHER_NAME
    if "certificate verify failed" in repr(error):
        return UNTRUSTED
    return None
