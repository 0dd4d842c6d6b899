"""``python -m tests.support.keeping_keys serve -c …``: regsys that keeps what tokens are made with,
as it does for a homeserver that has delegated its logins, without such a homeserver."""

from __future__ import annotations

import sys
from typing import Any

import attr

import regsys.cli
from regsys.config import Config, load


def keeping(*arguments: Any, **more: Any) -> Config:
    config = load(*arguments, **more)
    return attr.evolve(config, tokens=attr.evolve(config.tokens, keeps_keys=True))


if __name__ == "__main__":
    regsys.cli.load = keeping  # type: ignore[attr-defined]
    sys.exit(regsys.cli.main(sys.argv[1:]))
