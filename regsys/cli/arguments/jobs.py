"""``regsys jobs``."""

from __future__ import annotations

import argparse

from regsys.cli.arguments.numbers import number_to
from regsys.cli.arguments.output import add_json


def add_jobs(jobs: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = jobs.add_subparsers(dest="action", metavar="ACTION")
    text = "The jobs that wait, one a line: what for, how often tried, when next, why it failed."
    listing = actions.add_parser("list", help=text, description=text, parents=[common])
    jobs.set_defaults(action="list", most=100, json=False)
    for parser in (jobs, listing):
        parser.add_argument(
            "--most",
            type=number_to(1_000_000),
            default=argparse.SUPPRESS,  # else it would undo `jobs --most N list`
            metavar="N",
            help="show at most this many, the oldest first (default: 100)",
        )
        add_json(parser, also_before_action=True)
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
