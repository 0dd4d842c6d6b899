"""The section ``redis``: where several processes may count their limits together."""

from __future__ import annotations

import importlib.util
import os
from typing import Optional

import attr

from regsys.config.values import Reader
from regsys.model import Secret

_PORT = 6379
_LIBRARY = "txredisapi"
_NOT_INSTALLED = (
    "redis is enabled, but the library for it is not installed: limits are NOT counted in Redis."
    " Run pip install 'regsys[redis]', or write regsys: {shared_limits: false}."
)


@attr.frozen(kw_only=True)
class RedisTLS:
    """Paths of PEM files. ``certificate`` and ``private_key`` are our own; None to show none.
    ``ca_file`` and the directory ``ca_path`` have the authorities of Redis's certificate; if both
    are None, those of the system."""

    certificate: Optional[str] = None
    private_key: Optional[str] = None
    ca_file: Optional[str] = None
    ca_path: Optional[str] = None


@attr.frozen(kw_only=True)
class RedisConfig:
    """Where Redis listens: at the Unix socket ``path``, or if that is None at ``host`` and
    ``port``. ``dbid``: the number of its database; None for the first. ``username`` and
    ``password``: how to log in; None not to."""

    host: str = "localhost"
    port: int = _PORT
    path: Optional[str] = None
    dbid: Optional[int] = None
    username: Optional[str] = None
    password: Optional[Secret] = attr.field(default=None, repr=False)
    tls: Optional[RedisTLS] = None


def read_redis(reader: Reader) -> Optional[RedisConfig]:
    """None if Redis is not used: it is not enabled, processes shall count by themselves, or the
    library for it is not installed."""
    section = reader.section("redis")
    enabled = section.flag("enabled") and reader.peek("regsys.shared_limits") is not False
    found = RedisConfig(
        host=section.text("host") or "localhost",
        port=section.whole("port", 1, 65535) or _PORT,
        path=section.text("path"),
        dbid=section.whole("dbid", 0, 10**6),
        username=section.text("username"),
        password=section.secret("password"),
        tls=_read_tls(section, enabled),
    )
    if not enabled:
        return None
    if importlib.util.find_spec(_LIBRARY) is None:
        if reader.peek("regsys.shared_limits") is not True:
            # The file of a homeserver that uses Redis for other things must start regsys as well.
            reader.warnings.append(_NOT_INSTALLED)
            return None
        section.problem(
            "enabled",
            "the library for Redis is not installed",
            "run pip install 'regsys[redis]', or write false",
            True,
        )
    if found.username is not None and found.password is None:
        section.problem("username", "given without a password", "add password or password_path")
    if found.path is not None and found.tls is not None:
        section.problem("use_tls", "not possible on a Unix socket", "leave it out")
    return found


def _read_tls(section: Reader, enabled: bool) -> Optional[RedisTLS]:
    used = section.flag("use_tls") and enabled
    certificate, private_key, ca_file = (
        section.file(name) if used else section.text(name)
        for name in ("certificate_file", "private_key_file", "ca_file")
    )
    ca_path = section.text("ca_path")
    if not used:
        return None
    if ca_path is not None and not os.path.isdir(ca_path):
        section.problem("ca_path", "not a directory", "mend the path", ca_path)
    if (certificate is None) != (private_key is None):
        section.problem(
            "certificate_file", "half of a pair", "give certificate_file and private_key_file"
        )
    return RedisTLS(
        certificate=certificate, private_key=private_key, ca_file=ca_file, ca_path=ca_path
    )
