"""``regsys privacy``."""

from __future__ import annotations

import argparse


def add_privacy(privacy: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = privacy.add_subparsers(dest="action", required=True, metavar="ACTION")
    text = "Print what is kept about an account, as JSON, without hashes and secrets."
    export = actions.add_parser("export", help=text, description=text, parents=[common])
    text = "Deactivate an account, and delete all that does not have to stay."
    erase = actions.add_parser("erase", help=text, description=text, parents=[common])
    for parser in (export, erase):
        parser.add_argument("user", help="the user ID, or the part before the colon")
    erase.add_argument("--yes", action="store_true", help="do it: there is no way back")
