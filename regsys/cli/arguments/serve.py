"""``regsys serve``."""

from __future__ import annotations

import argparse

from regsys.cli.arguments.numbers import number_to
from regsys.cli.demo.flows import FLOWS

# More than a machine has cores for.
MOST_PROCESSES = 256


def add_serve(serve: argparse.ArgumentParser) -> None:
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
