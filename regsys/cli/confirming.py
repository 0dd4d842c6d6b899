"""Asks whoever sits at the terminal."""

from __future__ import annotations

import signal
import sys


def is_confirmed(question: str) -> bool:
    """Whether the answer is yes. Without a terminal nobody can be asked, which is no."""
    if not sys.stdin.isatty():
        return False
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    # The reactor's handler only notes the signal, and goes on waiting for the line.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return sys.stdin.readline().strip().lower() in ("y", "yes")
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return False
    finally:
        signal.signal(signal.SIGINT, before)
