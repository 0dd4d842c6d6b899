"""``regsys adopt`` and ``regsys hand-back``."""

from __future__ import annotations

import argparse


def add_adopt(adopt: argparse.ArgumentParser) -> None:
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


def add_hand_back(hand_back: argparse.ArgumentParser) -> None:
    _source_argument(hand_back)
    hand_back.add_argument(
        "--output",
        metavar="FILE",
        help="write it into this file, which nobody else may read (default: standard output)",
    )


def _source_argument(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--from",
        dest="source",
        metavar="DATABASE",
        help="Synapse's database: a connection string of PostgreSQL, or the path of its SQLite "
        "file (default: the database: of the configuration)",
    )
