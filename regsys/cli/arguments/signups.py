"""``regsys signups``."""

from __future__ import annotations

import argparse

from regsys.cli.arguments.numbers import number_to
from regsys.cli.arguments.output import add_json

# The words by which stages are called here.
STEPS = ("token", "captcha", "terms", "reason", "email", "phone", "client")


def add_signups(signups: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = signups.add_subparsers(dest="action", metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    text = (
        "The registrations that are not finished, one a line: how old, under which name, and what"
        " they wait for."
    )
    listing = action("list", text)
    signups.set_defaults(
        action="list", most=100, older_than=None, stage=None, address=None, name=None, json=False
    )
    for parser in (signups, listing):
        _filters(parser)
    show = action("show", "All that is known of one.")
    resend = action("resend", "Send its mail or text message again, with the same link and code.")
    resend.add_argument(
        "--language",
        default=[],
        action="append",
        metavar="TAG",
        help="in this language, such as de",
    )
    confirm = action("confirm", "Take your word for it that the address is the person's.")
    end = action("end", "End it: the person has to begin anew.")
    for parser in (show, resend, confirm, end):
        parser.add_argument("id", metavar="ID", help="the first word of its line in the list")
    for parser in (resend, confirm):
        which = parser.add_mutually_exclusive_group(required=parser is confirm)
        for option, medium, what in (
            ("--email", "email", "its email address"),
            ("--phone", "msisdn", "its phone number"),
        ):
            which.add_argument(
                option, dest="medium", action="store_const", const=medium, help=f"of {what}"
            )
    add_json(show, also_before_action=True)


def _filters(parser: argparse.ArgumentParser) -> None:
    # Else the defaults of an action would undo the options before its name.
    absent = argparse.SUPPRESS
    parser.add_argument(
        "--older-than", default=absent, metavar="30m", help="those that began longer ago than this"
    )
    parser.add_argument(
        "--stage",
        default=absent,
        metavar="STEP",
        help=f"those that wait for this: {', '.join(STEPS)}, or the type of a stage",
    )
    parser.add_argument(
        "--address",
        default=absent,
        metavar="ADDRESS",
        help="those of this email address, phone number or IP address",
    )
    parser.add_argument(
        "--name", default=absent, metavar="NAME", help="those that want this user name, or user ID"
    )
    parser.add_argument(
        "--most",
        type=number_to(1_000_000),
        default=absent,
        metavar="N",
        help="show at most this many, the oldest first (default: 100)",
    )
    add_json(parser, also_before_action=True)
