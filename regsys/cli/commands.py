"""What each command does; all take the configuration and the parsed arguments."""

from __future__ import annotations

import argparse
import functools
import getpass
import sys
import time
from typing import Any, Awaitable, Callable, Iterator, Sequence, Union

from twisted.internet import task
from twisted.internet.defer import Deferred

from regsys import logs, wiring
from regsys.accounts.approvals import Approvals
from regsys.accounts.usernames import ascii_lower
from regsys.cli import adoption, checks, connect, processes
from regsys.cli import approvals as queue
from regsys.cli import audit as audit_entries
from regsys.cli import jobs as waiting_jobs
from regsys.cli import newcomers as waiting_users
from regsys.cli import privacy as personal
from regsys.cli import signups as unfinished
from regsys.cli import tokens as registration_tokens
from regsys.cli import users as accounts
from regsys.cli.names import user_id_of
from regsys.cli.results import Done
from regsys.config import Config
from regsys.errors import HomeserverUnavailable, RegistrationError
from regsys.model import Registration, Secret
from regsys.model.administration import CLI
from regsys.processes.service import serve as serve_process
from regsys.storage.jobs import JobStore
from regsys.web.registration_page import registration_page_url
from regsys.wiring.jobs import warnings
from regsys.wiring.process import prepare
from regsys.wiring.subsystem import Subsystem

# A new operator may take regsys for a homeserver.
NO_HOMESERVER = (
    "regsys: this is not a homeserver: it keeps accounts and logins, without rooms and /sync. They"
    " work at a\n  Synapse whose auth service regsys is (docs/synapse.md), and at a homeserver that"
    " embeds regsys\n  or asks it whose a token is; nowhere else (docs/homeserver.md)"
)

# Where it is an application service of the homeserver at this address.
_KNOWN_ALONE = (
    "regsys: its accounts are made known to the homeserver at {}, but nobody can log in or write"
    " there\n  with them, unless it asks regsys whose a token is. At a Synapse they work if regsys"
    " is its auth\n  service: delegated: true (docs/synapse.md)"
)

_NOT_ENTERED = "regsys: the password is empty, or the two entries differ"


def serve(config: Config, arguments: argparse.Namespace) -> int:
    from regsys.cli.demo import introduction, server

    checks.before_start(config)
    place = f"regsys: accounts are kept in {_place(config)}\n{used_by(config)}"
    text = place if arguments.config else f"{introduction(config)}\n{place}"
    started_by = arguments.inherited, arguments.manager
    if arguments.processes > 1:
        return processes.serve(config, arguments.processes, text, *started_by)
    from twisted.internet import reactor

    logs.begin(config.log_config, config.server_name)
    if arguments.demo:
        text = f"{server.introduction(config, arguments.flow)}\n{place}"
        subsystem = server.subsystem(config, reactor, arguments.flow)
        return serve_process(config, subsystem, reactor, text)
    subsystem = wiring.of_process(config, reactor)
    return serve_process(config, subsystem, reactor, text, *started_by)


def check_config(config: Config, arguments: argparse.Namespace) -> int:
    # ``serve`` logs the first of these.
    has_rooms = config.homeserver is not None
    waiting = warnings(config, has_rooms=has_rooms, has_sms_sender=False)
    for warning in (*waiting, *checks.without_start(config)):
        print(f"regsys: warning: {warning}", file=sys.stderr)
    found = connect.ask_all(config) if arguments.connect else connect.Found()
    for warning in found.warnings:
        print(f"regsys: warning: {warning}", file=sys.stderr)
    for sentence in (*found.problems, *found.not_asked):
        print(f"regsys: {sentence}", file=sys.stderr)
    if found.problems:
        return 1
    print(f"The configuration is good. Accounts are kept in {_place(config)}.")
    print(f"Looked at: {', '.join(_looked_at(config, arguments.config or []))}.")
    if arguments.connect:
        print(f"Reached: {', '.join(found.reached)}.")
    else:
        print("Not looked at: the database and other servers, which --connect asks.")
    return 0


def _looked_at(config: Config, files: Sequence[str]) -> Iterator[str]:
    yield from files
    for option, path in (("log_config", config.log_config), ("pid_file", config.pid_file)):
        if path is not None:
            yield f"{option} ({path})"
    if config.appservices:
        yield f"{len(config.appservices)} registration files of application services"
    places = [
        listener.path or f"port {listener.port} of {address}"
        for listener in config.listeners
        for address in listener.bind_addresses or ("",)
    ]
    yield f"where it listens ({', '.join(places)})"
    if config.tls is not None:
        yield "the TLS files"
    if config.template_directory or (config.email and config.email.template_dir):
        yield "the templates"
    if config.terms.policies:
        yield "the pages of policies"


adopt = adoption.adopt
hand_back = adoption.hand_back


def migrate(config: Config, arguments: argparse.Namespace) -> int:
    applied, _ = prepare(config, lambda text: print(f"regsys: {text}", file=sys.stderr, flush=True))
    done = f"applied schema {', '.join(map(str, applied))}" if applied else "was up to date"
    print(f"{_place(config)}: {done}.")
    return 0


def register_user(config: Config, arguments: argparse.Namespace) -> int:
    password = _ask_password()
    if not password:
        print(_NOT_ENTERED, file=sys.stderr)
        return 1

    async def register(subsystem: Subsystem) -> str:
        registration = Registration(
            localpart=ascii_lower(arguments.name),
            password=Secret(password),
            admin=arguments.admin,
            by_admin=True,
            made_by=CLI,
            takes_over=arguments.existing,
        )
        created = await subsystem.handler.register_user(registration)
        return f"{created.user_id} is registered."

    return _with_subsystem(config, register)


def approve_user(config: Config, arguments: argparse.Namespace) -> int:
    async def approve(subsystem: Subsystem) -> str:
        user_id = user_id_of(arguments.name, config.server_name)
        return await waiting_users.approve(_deciding(subsystem), user_id)

    return _with_subsystem(config, approve)


def newcomers(config: Config, arguments: argparse.Namespace) -> int:
    return _with_subsystem(config, lambda subsystem: waiting_users.listed(subsystem, arguments))


def approvals(config: Config, arguments: argparse.Namespace) -> int:
    work = queue.ACTIONS[arguments.action]
    return _with_subsystem(
        config, lambda subsystem: work(_deciding(subsystem), config.server_name, arguments)
    )


def _deciding(subsystem: Subsystem) -> Approvals:
    if subsystem.approvals is None:
        raise RegistrationError(
            "a worker decides about no account: leave the worker's file out of -c"
        )
    return subsystem.approvals


def token(config: Config, arguments: argparse.Namespace) -> int:
    work = registration_tokens.ACTIONS[arguments.action]
    link_of = functools.partial(registration_page_url, config)
    return _with_subsystem(
        config, lambda subsystem: work(subsystem.registration_tokens, arguments, link_of)
    )


def tokens(config: Config, arguments: argparse.Namespace) -> int:
    arguments.action = "list"
    return token(config, arguments)


def users(config: Config, arguments: argparse.Namespace) -> int:
    password = None
    if arguments.action == "set-password":
        password = _ask_password()
        if not password:
            print(_NOT_ENTERED, file=sys.stderr)
            return 1
    secret = None if password is None else Secret(password)
    return _with_subsystem(
        config, lambda subsystem: accounts.run(subsystem, config.server_name, arguments, secret)
    )


def privacy(config: Config, arguments: argparse.Namespace) -> int:
    return _with_subsystem(
        config, lambda subsystem: personal.run(subsystem, config.server_name, arguments)
    )


def signups(config: Config, arguments: argparse.Namespace) -> int:
    return _with_subsystem(
        config, lambda subsystem: unfinished.run(subsystem.signups, config.server_name, arguments)
    )


def jobs(config: Config, arguments: argparse.Namespace) -> int:
    work, now_ms = waiting_jobs.ACTIONS[arguments.action], int(time.time() * 1000)
    return _with_subsystem(
        config,
        lambda subsystem: work(
            JobStore(subsystem.process.database), arguments, now_ms, subsystem.audit
        ),
    )


def audit(config: Config, arguments: argparse.Namespace) -> int:
    if not config.audit.enabled:
        print("regsys: nothing is written into it: regsys.audit.enabled is off", file=sys.stderr)
    now_ms = int(time.time() * 1000)
    return _with_subsystem(
        config,
        lambda subsystem: audit_entries.show(
            subsystem.audit_entries, arguments, now_ms, config.server_name
        ),
    )


def _with_subsystem(
    config: Config, work: Callable[[Subsystem], Awaitable[Union[str, Done]]]
) -> int:
    """Run ``work`` with the reactor; print its result, or the error."""
    subsystem: list[Subsystem] = []
    results: list[Union[str, Done]] = []
    status = 0

    async def run(reactor: Any) -> None:
        nonlocal status
        system = subsystem[0]
        system.process.start()
        try:
            results.append(await work(system))
        except HomeserverUnavailable as error:
            print(f"regsys: the homeserver has to do its part of this: {error}", file=sys.stderr)
            status = 1
        except RegistrationError as error:
            print(f"regsys: {error.reason or error.text}", file=sys.stderr)
            status = 1
        finally:
            # Jobs that were claimed here would else wait for the end of their lease, and activity
            # would be lost.
            await system.stop()

    from twisted.internet import reactor

    subsystem.append(wiring.of_process(config, reactor))
    try:
        task.react(lambda reactor: Deferred.fromCoroutine(run(reactor)))
    except SystemExit as ended:
        status = status or int(ended.code or 0)
    for result in results:
        status = max(status, _print(result))
    return status


def _print(result: Union[str, Done]) -> int:
    """The exit status."""
    done = Done(result) if isinstance(result, str) else result
    if done.text:
        print(done.text)
    if done.problem is not None:
        print(f"regsys: {done.problem}", file=sys.stderr)
    return done.status


def _ask_password() -> str:
    """The password, typed twice at a terminal, else one line of standard input; "" if it is empty
    or the two differ."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\n")
    password = getpass.getpass("Password: ")
    return password if getpass.getpass("Again: ") == password else ""


def used_by(config: Config) -> str:
    """Who can use the accounts."""
    if config.delegation is not None:
        return (
            f"regsys: it is the auth service of the homeserver at {config.delegation.url}, where"
            " its accounts work\n  (docs/synapse.md)"
        )
    if config.homeserver is not None:
        return _KNOWN_ALONE.format(config.homeserver.url)
    return NO_HOMESERVER


def _place(config: Config) -> str:
    database = config.database
    if database.engine == "sqlite":
        return f"the SQLite file {database.path}"
    return f"PostgreSQL, schema {database.schema}"
