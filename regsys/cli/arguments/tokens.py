"""``regsys token``."""

from __future__ import annotations

import argparse

from regsys.cli.arguments.output import add_json


def add_token(token: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    actions = token.add_subparsers(dest="action", required=True, metavar="ACTION")

    def action(name: str, text: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=text, description=text, parents=[common])

    create = action("create", "Make a token and print it, with a link that fills it in.")
    create.add_argument("--token", help="the token itself (default: one is made up)")
    create.add_argument(
        "--length", type=int, default=16, help="how long a made-up token is (default: 16)"
    )
    create.add_argument(
        "--uses", type=int, metavar="N", help="how many accounts it may make (default: any number)"
    )
    create.add_argument("--expires", metavar="7d", help="after how long it ends (default: never)")
    create.add_argument("--note", help="what it is for")
    add_json(create)
    add_json(action("list", "All tokens, one a line."))
    show = action("show", "One token, and who used it when.")
    show.add_argument("token")
    add_json(show)
    revoke = action("revoke", "Let no further accounts be registered with a token.")
    revoke.add_argument("token")
    revoke.add_argument("--undo", action="store_true", help="let the token be used again")
    delete = action("delete", "Delete tokens; who has used them stays recorded.")
    delete.add_argument("tokens", nargs="+", metavar="token")
    add_json(delete)
