"""What a command has to say when it ends."""

from __future__ import annotations

from typing import Optional

import attr


@attr.frozen
class Done:
    """``text`` goes to standard output, ``problem`` to standard error; ``status`` is the exit
    status."""

    text: str
    status: int = 0
    problem: Optional[str] = None
