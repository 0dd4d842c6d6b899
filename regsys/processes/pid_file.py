"""The file that holds the process's ID while it serves."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Optional

from twisted.logger import Logger

log = Logger()

# No platform has larger process IDs.
_MOST = 2**31 - 1
_MEND = "let the user that regsys runs as write there, or name another file"


def problem(path: str) -> Optional[str]:
    """Why the file cannot be written, and how to mend it; None if it can, or if it need not be
    written because it names a running process."""
    directory = os.path.dirname(path) or "."
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        if not os.path.isdir(directory):
            return f"there is no directory {directory} — make it, or name another file"
        if not os.access(directory, os.W_OK | os.X_OK):
            return f"{directory} cannot be written — {_MEND}"
        return None
    except OSError as error:
        return f"{error.strerror} — name another file"
    if stat.S_ISDIR(mode):
        return "a directory — name a file in it"
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode)):
        return "neither a file nor new — name another one"
    if not (os.access(path, os.W_OK) or names_process(path)):
        return f"cannot be written — {_MEND}"
    return None


def names_process(path: str) -> bool:
    """Whether the file holds the ID of another running process, such as a homeserver's that shares
    the file."""
    try:
        with open(path, encoding="ascii") as file:
            number = int(file.read(32))
    except (OSError, ValueError):
        return False
    # Our own ID is a dead process's: a container that was killed restarts with the same ID.
    if not 0 < number <= _MOST or number == os.getpid():
        return False
    try:
        os.kill(number, 0)
    except PermissionError:
        return True  # another user's process
    except OSError:
        return False
    return True


def write(path: str) -> None:
    """Write this process's ID, unless the file names another running process. Errors are only
    logged, as the service is running by now."""
    if names_process(path):
        log.warn("pid_file: {path} is not written: it names a process that runs", path=path)
        return
    try:
        with open(path, "w", encoding="ascii") as file:
            file.write(f"{os.getpid()}\n")
    except OSError as error:
        log.error("pid_file: {path} is not written: {reason}", path=path, reason=error.strerror)


def remove(path: str) -> None:
    """Remove the file if it holds this process's ID."""
    with contextlib.suppress(OSError, ValueError):
        with open(path, encoding="ascii") as file:
            is_ours = int(file.read(32)) == os.getpid()
        if is_ours:
            os.unlink(path)
