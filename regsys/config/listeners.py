"""Where the service listens: ``listeners`` and the certificate for those with TLS."""

from __future__ import annotations

import ipaddress
import re
from typing import AbstractSet as Set
from typing import Optional, Sequence

import attr

from regsys.config.values import Reader

# The resources of a listener, and the types that homeservers know; we serve http and metrics.
FOR_CLIENTS = frozenset({"client", "consent", "health"})
METRICS = "metrics"
REPLICATION = "replication"
_TYPES = ("http", "metrics", "manhole", "replication")

# Where homeservers listen if no address is given.
ALL_ADDRESSES = ("::", "0.0.0.0")  # noqa: S104 (asked for by the operator)


@attr.frozen(kw_only=True)
class Listener:
    """One place to listen: a ``port`` (0 for any free one) on ``bind_addresses``, or the Unix
    socket ``path`` with the permissions ``mode``; the other of the two is None.

    One of ALL_ADDRESSES may fail to bind: on a machine without IPv6, or if ``::`` takes IPv4
    connections, too. ``x_forwarded``: the client's address is in X-Forwarded-For. ``resources``:
    ``client``, ``consent`` (the pages of policies), ``health``, ``metrics`` (only if enabled),
    ``replication`` (what workers call; never together with what is for clients).
    """

    port: Optional[int] = None
    bind_addresses: tuple[str, ...] = ()
    path: Optional[str] = None
    mode: int = 0o666
    tls: bool = False
    type: str = "http"
    x_forwarded: bool = False
    resources: frozenset[str] = FOR_CLIENTS


# On loopback only: for a reverse proxy, or for trying regsys out.
DEFAULT_LISTENER = Listener(port=8008, bind_addresses=("127.0.0.1",))


@attr.frozen(kw_only=True)
class TLSFiles:
    """The certificate chain and its private key, as paths of PEM files."""

    certificate: str
    private_key: str


def read_listeners(reader: Reader, has_secret: bool) -> tuple[Listener, ...]:
    """The listeners with a resource of ours; the default one if the file has no listeners.
    ``has_secret``: workers have one by which the master knows them."""
    served = FOR_CLIENTS | {METRICS} if reader.flag("enable_metrics") else FOR_CLIENTS
    items = reader.items("listeners")
    listeners = _read_list(reader, "listeners", items, served | {REPLICATION})
    if not items:
        return (DEFAULT_LISTENER,)
    return tuple(
        _without_open_replication(reader, f"listeners[{index}]", listener, has_secret)
        for index, listener in listeners.items()
    )


def read_worker_listeners(reader: Reader) -> tuple[Listener, ...]:
    """Those of a worker, which may have none: another process may mount what it serves."""
    served = FOR_CLIENTS | {METRICS} if reader.flag("enable_metrics") else FOR_CLIENTS
    items = reader.items("worker_listeners")
    return tuple(_read_list(reader, "worker_listeners", items, served).values())


def _read_list(
    reader: Reader, option: str, items: Sequence[Reader], served: Set[str]
) -> dict[int, Listener]:
    """The listeners of this option that serve anything, by their places in it."""
    listeners = {}
    for index, item in enumerate(items):
        listener = _read_listener(item, served)
        if listener is None:
            reader.skip(f"{option}[{index}]")
        else:
            listeners[index] = listener
    if items and not any("client" in listener.resources for listener in listeners.values()):
        reader.problem(
            option,
            "none of them serves clients",
            "add a listener with type: http and resources: [{names: [client]}]",
        )
    return listeners


def _without_open_replication(
    reader: Reader, name: str, listener: Listener, has_secret: bool
) -> Listener:
    """The listener without the resource replication, with a warning, where it must not be served:
    whoever calls these endpoints makes accounts, administrators too. A homeserver's file may have
    it, and must start regsys."""
    if REPLICATION not in listener.resources:
        return listener
    if listener.resources & {"client", "consent"}:
        reason = (
            "clients could reach it. Give it a listener of its own, on an address that no client"
            " reaches"
        )
    elif not has_secret:
        reason = "worker_replication_secret is not set. Set it, the same one for the workers"
    else:
        return listener
    reader.warnings.append(f"{name}: the resource replication is NOT served: {reason}.")
    return attr.evolve(listener, resources=listener.resources - {REPLICATION})


def _read_listener(item: Reader, served: Set[str]) -> Optional[Listener]:
    """The listener; None if it has no resource that is ``served``."""
    port, path = item.whole("port", 0, 65535), item.text("path")
    tls, mode = item.flag("tls"), _read_mode(item)
    kind = item.choice("type", _TYPES) or "http"
    x_forwarded = item.flag("x_forwarded", default=path is not None)
    addresses = _read_addresses(item)
    resources = _read_resources(item, served)
    if kind != "http":
        # A listener of the type replication is no HTTP: homeservers had it once.
        resources = _also_healthy({kind} & served - {REPLICATION})
    if not resources:
        return None
    if (item.peek("port") is None) == (item.peek("path") is None):
        item.problem("port", "a listener has either a port or a path", "keep exactly one of them")
    if path is not None and tls:
        item.problem("tls", "not possible on a Unix socket", "leave it out")
    return Listener(
        port=port,
        bind_addresses=() if path else addresses or ALL_ADDRESSES,
        path=path,
        mode=mode,
        tls=tls,
        type=kind,
        # A worker is no proxy.
        x_forwarded=x_forwarded and REPLICATION not in resources,
        resources=resources,
    )


def _read_addresses(item: Reader) -> tuple[str, ...]:
    """The addresses of both options, IPv6 addresses without brackets."""
    written = {
        f"bind_addresses[{index}]": text for index, text in enumerate(item.texts("bind_addresses"))
    }
    written["bind_address"] = item.text("bind_address") or ""
    found = []
    for name, text in written.items():
        bracketed = re.fullmatch(r"\[([0-9A-Fa-f:.]+)\]", text)
        address = bracketed[1] if bracketed else text
        if address and not _is_address(address):
            mend = "write an IP address of this machine alone: the port has an option of its own"
            item.problem(name, "not an address", mend, text)
        elif address:
            found.append(address)
    return tuple(found)


def _is_address(text: str) -> bool:
    """Whether it is an IP address (an IPv6 address may have a scope) or a host name."""
    try:
        ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        # Digits and dots alone are a mistyped address or a network.
        return bool(re.fullmatch(r"(?![0-9.]*$)[0-9A-Za-z_.-]+", text))
    return True


def _read_resources(item: Reader, served: Set[str]) -> frozenset[str]:
    """Those of the resources that we serve."""
    found = set()
    for resource in item.items("resources"):
        if "name" in resource.data:
            mend = "write names, with a list: names: [client]"
            resource.problem("name", "not an option", mend, resource.take("name"))
        for index, name in enumerate(resource.texts("names")):
            if name in served:
                found.add(name)
            else:
                resource.skip(f"names[{index}] ({name})")
    return _also_healthy(found)


def _also_healthy(names: Set[str]) -> frozenset[str]:
    """The resources, with health checks if there is any."""
    return frozenset(names | {"health"}) if names else frozenset()


def _read_mode(item: Reader) -> int:
    """The permissions: YAML reads 0666 as octal, but 0o666 as text."""
    value = item.take("mode")
    try:
        mode = int(value, 8) if isinstance(value, str) else value
    except ValueError:
        mode = -1
    if mode is not None and not (type(mode) is int and 0 <= mode <= 0o777):
        item.problem("mode", "not permissions in octal", "write for example 0660", value)
        return 0o666
    return 0o666 if mode is None else mode


def read_tls(reader: Reader, listeners: tuple[Listener, ...]) -> Optional[TLSFiles]:
    """The TLS files; None if no listener needs them."""
    certificate, private_key = (
        _read_file(reader, name, needed=any(listener.tls for listener in listeners))
        for name in ("tls_certificate_path", "tls_private_key_path")
    )
    if certificate is None or private_key is None:
        return None
    return TLSFiles(certificate=certificate, private_key=private_key)


def _read_file(reader: Reader, name: str, needed: bool) -> Optional[str]:
    if not needed:
        reader.text(name)
        return None
    path = reader.file(name)
    if path is None:
        reader.problem(name, "missing", "a listener with tls: true needs it: name a PEM file")
    return path
