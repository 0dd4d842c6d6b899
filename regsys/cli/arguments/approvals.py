"""``regsys approvals`` and ``regsys newcomers``."""

from __future__ import annotations

import argparse

from regsys.cli.arguments.numbers import number_to
from regsys.cli.arguments.output import add_json


def add_approvals(approvals: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = approvals.add_subparsers(dest="action", metavar="ACTION")
    text = "The accounts that wait, one a line, the oldest first: who, since when, and why."
    listing = actions.add_parser("list", help=text, description=text, parents=[common])
    text = "Let accounts log in, and tell their people by mail."
    approve = actions.add_parser("approve", help=text, description=text, parents=[common])
    text = "End accounts for good, and tell their people by mail. Their names stay taken."
    refuse = actions.add_parser("refuse", help=text, description=text, parents=[common])
    approvals.set_defaults(action="list", most=100, json=False)
    for parser in (approvals, listing):
        parser.add_argument(
            "--most",
            type=number_to(1_000_000),
            default=argparse.SUPPRESS,  # else it would undo `approvals --most N list`
            metavar="N",
            help="show at most this many (default: 100)",
        )
    for parser in (approve, refuse):
        parser.add_argument(
            "names", nargs="+", metavar="NAME", help="a user ID, or the part before the colon"
        )
    refuse.add_argument("--reason", metavar="TEXT", help="what the person is told (default: none)")
    for parser in (approvals, listing, approve, refuse):
        add_json(parser, also_before_action=True)


def add_newcomers(newcomers: argparse.ArgumentParser) -> None:
    newcomers.add_argument(
        "--most",
        type=number_to(1_000_000),
        default=100,
        metavar="N",
        help="show at most this many, the oldest first (default: 100)",
    )
    add_json(newcomers)
