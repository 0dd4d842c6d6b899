"""Checks of what a start needs on this machine, before a start and by check-config."""

from __future__ import annotations

import errno
import os
import socket
import stat
from typing import Iterator, Optional

from regsys import logs
from regsys.config import ALL_ADDRESSES, Config, ConfigError, Listener, TLSFiles
from regsys.modules import install_names
from regsys.modules.loader import parsed
from regsys.outbound import redis
from regsys.processes import pid_file
from regsys.processes.listening import tls_context
from regsys.wiring import template_checks

# Bytes of a Unix socket's path, on the platform with the lowest limit.
LONGEST_SOCKET = 103


def before_start(config: Config) -> None:
    """Raise ConfigError if a file or directory is not as a start needs it. Changes nothing."""
    found = list(_problems(config))
    if found:
        raise ConfigError(found)


def without_start(config: Config) -> list[str]:
    """The same checks and more, for check-config: regsys may be running, and as another user.
    Raises ConfigError; returns warnings."""
    warnings: list[str] = []
    found = list(_problems(config))
    try:
        if config.modules.modules:
            install_names()
        parsed(config.modules)
    except ConfigError as error:
        found += error.problems
    if config.log_config is not None:
        try:
            logs.LogFile.load(config.log_config).check(config.server_name)
        except ConfigError as error:
            found += error.problems
    for listener in config.listeners:
        for address in listener.bind_addresses:
            refused = _binding(listener, address)
            missing = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)
            # Of ALL_ADDRESSES one family is enough.
            is_spare = address in ALL_ADDRESSES and refused is not None
            if refused is None or (is_spare and refused.errno in missing):
                continue
            if isinstance(refused, socket.gaierror) or refused.errno in missing:
                mend = "write one of this machine's, or leave it out for all of them"
                found.append(f"listeners: bind address {address}: {refused.strerror} — {mend}")
            else:
                warnings.append(
                    f"listeners: port {listener.port} of {address} cannot be bound now"
                    f" ({refused.strerror}): is it regsys itself that has it, or its .socket unit?"
                )
    if found:
        raise ConfigError(found)
    return warnings


def _problems(config: Config) -> Iterator[str]:
    if not config.listeners:
        yield "worker_listeners: there is none — say where this worker serves clients"
    if config.pid_file is not None:
        wrong = pid_file.problem(config.pid_file)
        if wrong is not None:
            yield f"pid_file: {config.pid_file}: {wrong}"
    for listener in config.listeners:
        wrong = None if listener.path is None else _socket_problem(listener.path)
        if wrong is not None:
            yield f"listeners: path {listener.path}: {wrong}"
    if config.tls is not None:
        yield from _tls_problems(config.tls)
    if config.redis is not None:
        try:
            redis.endpoint(config.redis, None)
        except redis.UnusableFiles as error:
            yield (
                f"redis: the files for TLS cannot be used: {error} — write PEM certificates, and"
                " the key that belongs to certificate_file"
            )
    directories = [config.template_directory] if config.template_directory else []
    yield from template_checks.problems(config, directories)
    yield from template_checks.mail_problems(config, directories)


def _socket_problem(path: str) -> Optional[str]:
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        return f"there is no directory {directory} — make it, or name another place"
    # One that is there may be systemd's, who hands it over.
    is_there = os.path.lexists(path) and stat.S_ISSOCK(os.lstat(path).st_mode)
    if not is_there and not os.access(directory, os.W_OK | os.X_OK):
        return f"{directory} cannot be written — let the user that regsys runs as write there"
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        return f"longer than {LONGEST_SOCKET} bytes, which no socket's can be — name another place"
    # A socket that is left over is replaced; anything else must not be deleted.
    if os.path.lexists(path) and not is_there:
        return "something is there that is no socket — take it away, or name another place"
    return None


def _tls_problems(files: TLSFiles) -> Iterator[str]:
    try:
        tls_context(files).getContext()
    except Exception as error:  # of three libraries, each with exceptions of its own
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        yield (
            f"tls_certificate_path: {files.certificate} and {files.private_key} (of"
            f" tls_private_key_path) cannot be used together: {reason} — write a PEM certificate"
            " with its chain, and the key that belongs to it"
        )


def _binding(listener: Listener, address: str) -> Optional[OSError]:
    """The error of binding there; None if it works."""
    try:
        family, kind, _, _, place = socket.getaddrinfo(
            address, listener.port or 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(place)
    except OSError as error:
        return error
    return None
