"""``regsys users``."""

from __future__ import annotations

import argparse

from regsys.cli.arguments.numbers import number_to
from regsys.cli.arguments.output import add_json

# Of one page.
MOST_LISTED = 10_000


def add_users(users: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = users.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        parser = actions.add_parser(name, help=text, description=text, parents=[common])
        add_json(parser)
        return parser

    def named(name: str, text: str) -> argparse.ArgumentParser:
        parser = action(name, text)
        parser.add_argument("name", metavar="NAME", help="a user ID, or the part before the colon")
        return parser

    _list_arguments(action("list", "Accounts, a line each, the newest first."))
    named("show", "All that there is about one account.")
    _deactivate_arguments(action("deactivate", "End accounts for good."))
    password = named("set-password", "Give an account a password, which is asked for.")
    password.add_argument(
        "--keep-logins", action="store_true", help="leave the devices logged in (default: none is)"
    )
    password.add_argument(
        "--force", action="store_true", help="though password_config.policy does not allow it"
    )
    admin = named("set-admin", "Make a user a server administrator.")
    admin.add_argument("--no", action="store_true", help="make an administrator an ordinary user")
    log_out = named("log-out", "Log all devices of a user out.")
    log_out.add_argument("--device", metavar="ID", help="this one alone")


def _list_arguments(listing: argparse.ArgumentParser) -> None:
    listing.add_argument(
        "name", nargs="?", metavar="PART", help="with this in the name or the display name"
    )
    listing.add_argument(
        "--address",
        metavar="ADDRESS",
        help="who has this mail address or phone number; with @domain all of that domain",
    )
    listing.add_argument("--waiting", action="store_true", help="those that wait for approval")
    for name in ("deactivated", "admins", "guests"):
        listing.add_argument(f"--{name}", action="store_true", help=f"the {name} alone")
    listing.add_argument(
        "--limit",
        type=number_to(MOST_LISTED),
        default=100,
        metavar="N",
        help="at most so many (default: 100)",
    )
    listing.add_argument(
        "--from",
        dest="skip",
        type=number_to(2**53, least=0),
        default=0,
        metavar="N",
        help="leave out the first N",
    )


def _deactivate_arguments(deactivate: argparse.ArgumentParser) -> None:
    deactivate.add_argument(
        "names", nargs="*", metavar="NAME", help="user IDs, or the parts before the colon"
    )
    deactivate.add_argument(
        "--from-file", metavar="FILE", help="names, one a line (-: standard input)"
    )
    deactivate.add_argument(
        "--erase",
        action="store_true",
        help="what was sent is to be erased, where a homeserver has it; removes the display name",
    )
    which = deactivate.add_mutually_exclusive_group()
    which.add_argument("--dry-run", action="store_true", help="only say what would be done")
    which.add_argument("--yes", action="store_true", help="do not ask: there is no way back")
