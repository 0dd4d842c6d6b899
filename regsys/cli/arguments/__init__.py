"""What each command is called with.

Nothing here imports what a command does, which ``regsys serve`` would wait for.
"""

from __future__ import annotations

import argparse
from importlib import metadata

from regsys.cli.arguments.adoption import add_adopt, add_hand_back
from regsys.cli.arguments.approvals import add_approvals, add_newcomers
from regsys.cli.arguments.audit import add_audit
from regsys.cli.arguments.jobs import add_jobs
from regsys.cli.arguments.output import add_json
from regsys.cli.arguments.privacy import add_privacy
from regsys.cli.arguments.serve import add_serve
from regsys.cli.arguments.signups import add_signups
from regsys.cli.arguments.tokens import add_token
from regsys.cli.arguments.users import add_users


def parser() -> argparse.ArgumentParser:
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
    made = argparse.ArgumentParser(
        prog="regsys", description="The registration subsystem of a Matrix homeserver."
    )
    made.add_argument("--version", action="version", version=f"regsys {_version()}")
    commands = made.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text, parents=[common])

    add_serve(command("serve", "Serve until told to stop."))
    check = command("check-config", "Read the configuration and say what is wrong with it.")
    check.add_argument(
        "--connect",
        action="store_true",
        help="also ask the database and the other servers that it names whether they are there",
    )
    command("migrate", "Bring the database's tables up to date.")
    add_adopt(
        command(
            "adopt",
            "Take over the accounts of a Synapse, with passwords, addresses, devices and tokens. "
            "Its tables are only read; running this again adopts what is new.",
        )
    )
    add_hand_back(
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
    approve = command(
        "approve-user",
        "Let an account that waits for approval log in, or a suspended newcomer speak.",
    )
    approve.add_argument("name", help="the user name, the part before the colon")
    add_approvals(
        command("approvals", "Show who waits for approval, approve or refuse accounts."), common
    )
    add_newcomers(
        command("newcomers", "The newcomers who are suspended at the homeserver, one a line.")
    )
    add_users(command("users", "List, show or change accounts."), common)
    add_token(command("token", "Make, list, show, revoke or delete registration tokens."), common)
    add_json(command("tokens", "All registration tokens, one a line."))
    add_jobs(command("jobs", "Show or retry what is still to be done after registrations."), common)
    add_signups(
        command("signups", "Show, or help with, registrations that are not finished."), common
    )
    add_privacy(command("privacy", "Show or erase what is kept about one account."), common)
    add_audit(
        command("audit", "Show who was allowed or refused when, and what was changed by whom.")
    )
    return made


def _version() -> str:
    try:
        return metadata.version("regsys")
    except metadata.PackageNotFoundError:
        return "(not installed: run from its files)"
