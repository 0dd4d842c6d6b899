"""The command line: ``regsys serve``, ``check-config``, ``migrate`` and more; see ``--help``."""

from __future__ import annotations

import argparse
import os
import sys
from importlib import metadata
from typing import Optional, Sequence

import attr

from regsys.cli import signup_arguments
from regsys.cli.numbers import number_to
from regsys.config import Config, ConfigError, load

# More than a machine has cores for.
MOST_PROCESSES = 256


def main(argv: Optional[Sequence[str]] = None) -> int:
    """Run one command; returns its exit status. Errors go to standard error."""
    parser = _parser()
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
        # Absent if it was not given, because of SUPPRESS below.
        arguments.config = getattr(arguments, "config", None)
        files = arguments.config or [_demo_config(arguments)]
        config = load(files, makes_files=arguments.command != "check-config")
        if arguments.command == "serve" and arguments.port is not None:
            config = _on_port(config, arguments.port)
        if arguments.command in ("serve", "check-config"):
            config = report(config)
        return int(getattr(commands, arguments.command.replace("-", "_"))(config, arguments))
    except (ConfigError, CannotStart, CannotListen, NewerSchema) as error:
        print(f"regsys: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "-c",
        "--config",
        action="append",
        default=argparse.SUPPRESS,  # else the default of an action would undo `token -c FILE`
        metavar="FILE",
        help="a configuration file, or a directory of *.yaml; may be repeated, a later one "
        "overriding an earlier one "
        "(without any: a demonstration server's, kept in ./regsys-demo)",
    )
    parser = argparse.ArgumentParser(
        prog="regsys", description="The registration subsystem of a Matrix homeserver."
    )
    parser.add_argument("--version", action="version", version=f"regsys {_version()}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    _serve_parser(command("serve", "Serve until told to stop."))
    check = command("check-config", "Read the configuration and say what is wrong with it.")
    check.add_argument(
        "--connect",
        action="store_true",
        help="also ask the database and the other servers that it names whether they are there",
    )
    command("migrate", "Bring the database's tables up to date.")
    _adopt_parser(
        command(
            "adopt",
            "Take over the accounts of a Synapse, with passwords, addresses, devices and tokens. "
            "Its tables are only read; running this again adopts what is new.",
        )
    )
    _hand_back_parser(
        command(
            "hand-back",
            "Print the SQL by which Synapse keeps the accounts itself again. Nothing is executed.",
        )
    )
    register = command("register-user", "Make an account; its password is asked for.")
    register.add_argument("name", help="the user name, the part before the colon")
    register.add_argument("--admin", action="store_true", help="make the user a server admin")
    register.add_argument(
        "--existing",
        action="store_true",
        help="the homeserver beside this service has an account of this name already, and it is "
        "this person's",
    )
    approve = command("approve-user", "Let an account that waits for approval log in.")
    approve.add_argument("name", help="the user name, the part before the colon")
    _token_parser(command("token", "Make, list, show or revoke registration tokens."), common)
    _jobs_parser(
        command("jobs", "Show or retry what is still to be done after registrations."), common
    )
    signup_arguments.add(
        command("signups", "Show, or help with, registrations that are not finished."), common
    )
    _privacy_parser(command("privacy", "Show or erase what is kept about one account."), common)
    return parser


def _adopt_parser(adopt: argparse.ArgumentParser) -> None:
    _source_argument(adopt)
    adopt.add_argument(
        "--dry-run", action="store_true", help="only report what would be adopted, and what not"
    )
    adopt.add_argument(
        "--not-handed-back",
        action="store_true",
        help="go on though hand-back was run: its SQL was never executed",
    )
    adopt.add_argument(
        "--report", metavar="FILE", help="write all that does not fit into this file, a line each"
    )


def _source_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DATABASE",
        help="Synapse's database: a connection string of PostgreSQL, or the path of its SQLite "
        "file (default: the database: of the configuration)",
    )


def _hand_back_parser(hand_back: argparse.ArgumentParser) -> None:
    _source_argument(hand_back)
    hand_back.add_argument(
        "--output",
        metavar="FILE",
        help="write it into this file, which nobody else may read (default: standard output)",
    )


def _serve_parser(serve: argparse.ArgumentParser) -> None:
    from regsys.cli.demo.flows import FLOWS

    serve.add_argument(
        "--demo",
        action="store_true",
        help="offer every stage, on this machine, for the developers of clients",
    )
    serve.add_argument(
        "--port",
        type=number_to(65535, "a port"),
        metavar="N",
        help="listen on this port in place of the listener's",
    )
    serve.add_argument(
        "--processes",
        type=number_to(MOST_PROCESSES),
        default=1,
        metavar="N",
        help="serve in N processes, which share the listeners; needs PostgreSQL (default: 1)",
    )
    serve.add_argument(
        "--flow",
        action="append",
        choices=tuple(FLOWS),
        metavar="NAME",
        help=f"with --demo: offer only this flow; may be repeated ({', '.join(FLOWS)})",
    )


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


def _version() -> str:
    try:
        return metadata.version("regsys")
    except metadata.PackageNotFoundError:
        return "(not installed: run from its files)"


def _demo_config(arguments: argparse.Namespace) -> str:
    """The demonstration's configuration file, for a command without -c."""
    from regsys.cli.demo import config_file, server

    if arguments.command == "serve" and arguments.demo:
        return server.config_file()
    return config_file(create=arguments.command == "serve")


def _jobs_parser(jobs: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = jobs.add_subparsers(dest="action", metavar="ACTION")
    text = "The jobs that wait, one a line: what for, how often tried, when next, why it failed."
    listing = actions.add_parser("list", help=text, description=text, parents=[common])
    jobs.set_defaults(action="list", most=100)
    for parser in (jobs, listing):
        parser.add_argument(
            "--most",
            type=number_to(1_000_000),
            default=argparse.SUPPRESS,  # as above
            metavar="N",
            help="show at most this many, the oldest first (default: 100)",
        )
    text = "Try failed jobs again at once."
    retry = actions.add_parser("retry", help=text, description=text, parents=[common])
    which = retry.add_mutually_exclusive_group(required=True)
    which.add_argument(
        "job_id",
        nargs="?",
        metavar="ID",
        help="the job's id, the first word of its line in the list",
    )
    which.add_argument("--all", action="store_true", help="all of them")


def _token_parser(token: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    create = action("create", "Make a token and print it.")
    create.add_argument("--token", help="the token itself (default: one is made up)")
    create.add_argument(
        "--length", type=int, default=16, help="how long a made-up token is (default: 16)"
    )
    create.add_argument(
        "--uses", type=int, metavar="N", help="how many accounts it may make (default: any number)"
    )
    create.add_argument("--expires", metavar="7d", help="after how long it ends (default: never)")
    create.add_argument("--note", help="what it is for")
    action("list", "All tokens, one a line.")
    show = action("show", "One token, and who used it when.")
    show.add_argument("token")
    revoke = action("revoke", "Let no further accounts be registered with a token.")
    revoke.add_argument("token")
    revoke.add_argument("--undo", action="store_true", help="let the token be used again")


def _privacy_parser(privacy: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = privacy.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "Print what is kept about an account, as JSON, without hashes and secrets."
    export = actions.add_parser("export", help=text, description=text, parents=[common])
    text = "Deactivate an account, and delete all that does not have to stay."
    erase = actions.add_parser("erase", help=text, description=text, parents=[common])
    for parser in (export, erase):
        parser.add_argument("user", help="the user ID, or the part before the colon")
    erase.add_argument("--yes", action="store_true", help="do it: there is no way back")


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
