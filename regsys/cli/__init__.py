"""The command line: ``regsys serve``, ``check-config``, ``migrate`` and more; see ``--help``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Optional, Sequence

import attr

from regsys.cli.arguments import parser as arguments_parser
from regsys.config import Config, ConfigError, load


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; returns its exit status. Errors go to standard error."""
    parser = arguments_parser()
    arguments = parser.parse_args(argv)
    if arguments.command == "serve" and (
        (arguments.flow and not arguments.demo) or (arguments.demo and "config" in arguments)
    ):
        parser.error("serve: --flow needs --demo, and --demo takes no -c: it brings its own")
    if arguments.command == "serve" and arguments.demo and arguments.processes > 1:
        parser.error("serve: --demo runs in one process")
    from regsys.processes.activation import CannotListen, Inherited
    from regsys.processes.manager import Manager

    try:
        # Before Twisted's endpoints are imported, which remove the variables.
        inherited = Inherited.from_environment(os.environ)
    except CannotListen as error:
        print(f"regsys: {error}", file=sys.stderr)
        return 2
    from regsys.cli import commands
    from regsys.storage.migrations import NewerSchema
    from regsys.wiring.process import CannotStart

    try:
        arguments.inherited = inherited
        arguments.manager = Manager.from_environment(os.environ)
        # Absent if it was not given, because of SUPPRESS in arguments.
        arguments.config = getattr(arguments, "config", None)
        files = arguments.config or [_demo_config(arguments)]
        config = load(files, makes_files=arguments.command != "check-config")
        if arguments.command == "serve" and arguments.port is not None:
            config = _on_port(config, arguments.port)
        if arguments.command in ("serve", "check-config"):
            config = report(config)
        status = int(getattr(commands, arguments.command.replace("-", "_"))(config, arguments))
        sys.stdout.flush()
        return status
    except (ConfigError, CannotStart, CannotListen, NewerSchema) as error:
        print(f"regsys: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader, such as head, has seen enough. Python must not write to it once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _on_port(config: Config, port: int) -> Config:
    """The configuration with its one listener on this port, and ``public_baseurl`` to match if that
    was on localhost."""
    if len(config.listeners) != 1 or config.listeners[0].path is not None:
        raise ConfigError(
            ["--port: there is not exactly one listener on a port — change listeners instead"]
        )
    (listener,) = config.listeners
    url = config.public_baseurl
    if url == f"http://localhost:{listener.port}/":
        url = f"http://localhost:{port}/"
    return attr.evolve(config, listeners=(attr.evolve(listener, port=port),), public_baseurl=url)


def _demo_config(arguments: argparse.Namespace) -> str:
    """The demonstration's configuration file, for a command without -c."""
    from regsys.cli.demo import config_file, server

    if arguments.command == "serve" and arguments.demo:
        return server.config_file()
    return config_file(create=arguments.command == "serve")


def report(config: Config) -> Config:
    """What an operator should know of the configuration, on standard error. Returns it without its
    warnings, so that the start does not log them a second time."""
    for warning in config.warnings:
        print(f"regsys: warning: {warning}", file=sys.stderr)
    # Options that a warning names are not listed again.
    unused = [
        name
        for name in config.unused
        if not any(warning.startswith(f"{name} ") for warning in config.warnings)
    ]
    if unused:
        print(f"regsys: options without effect here: {', '.join(unused)}", file=sys.stderr)
    return attr.evolve(config, warnings=())
