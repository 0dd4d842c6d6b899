"""How commands are asked for another output."""

from __future__ import annotations

import argparse


def add_json(
    parser: argparse.ArgumentParser,
    text: str = "print JSON, for programs",
    *,
    also_before_action: bool = False,
) -> None:
    """``also_before_action``: the option may stand before the name of an action as well; the
    command sets its default."""
    # Else the default of the action would undo it.
    default = argparse.SUPPRESS if also_before_action else False
    parser.add_argument("--json", action="store_true", default=default, help=text)
