"""How commands are asked for another output."""

from __future__ import annotations

import argparse


def add_json(parser: argparse.ArgumentParser, text: str = "print JSON, for programs") -> None:
    parser.add_argument("--json", action="store_true", help=text)
