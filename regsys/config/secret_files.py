"""Secrets in files of their own: read, or created if missing (contract B15)."""

from __future__ import annotations

import os
import secrets
import stat
import tempfile
from typing import TYPE_CHECKING, Optional

from regsys.model import Secret

if TYPE_CHECKING:
    from regsys.config.values import Reader


def secret_in_file(
    reader: Reader, name: str, path: str, makes_file: bool = False
) -> Optional[Secret]:
    """The secret in the file that this option names, white space stripped; None after a problem.

    ``makes_file``: create a missing file. If ``reader.makes_files`` is False, there is only a
    warning, and None.
    """
    if makes_file and not os.path.lexists(path) and not _make(reader, name, path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            value = file.read().strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not UTF-8 text"
        mend = "mend the path or the file"
        if isinstance(error, PermissionError):
            mend = "let the user that regsys runs as read it, by the file's group for instance"
        reader.problem(name, f"cannot be read: {reason}", mend, path)
        return None
    if mode & 0o077:
        reader.warnings.append(
            f"{reader.name_of(name)}: other users of this machine may open {path} "
            f"(mode {mode:04o}): run chmod 600 on it."
        )
    if not value:
        reader.problem(name, "the file is empty", "write a long random value to it", path)
    return Secret(value) if value else None


def _make(reader: Reader, name: str, path: str) -> bool:
    """Whether the file is there now; if not, a problem or warning says why."""
    directory = os.path.dirname(path) or "."
    mend = "make its directory, and let the user that regsys runs as write there"
    if not os.path.isdir(directory):
        reader.problem(name, "there is no such file, and no directory to make it in", mend, path)
        return False
    if not reader.makes_files:
        if os.access(directory, os.W_OK | os.X_OK):
            notice = f"there is no {path} yet: serve will make it, with a random secret."
            reader.warnings.append(f"{reader.name_of(name)}: {notice}")
        else:
            reader.problem(name, "cannot be made: Permission denied", mend, path)
        return False
    try:
        is_ours = make_secret_file(path)
    except OSError as error:
        reader.problem(name, f"cannot be made: {error.strerror}", mend, path)
        return False
    if is_ours:
        notice = f"there was no {path}: it was made (mode 0600), with a random secret."
        reader.warnings.append(f"{reader.name_of(name)}: {notice}")
    return True


def make_secret_file(path: str) -> bool:
    """Write a random secret to a file that only its owner may read. Returns False if another
    process has created it first. Raises OSError.

    The file appears complete (link after fsync): no process reads half a secret, even if this one
    is killed.
    """
    descriptor, draft = tempfile.mkstemp(dir=os.path.dirname(path) or ".", prefix=".secret-")
    try:
        with open(descriptor, "w", encoding="ascii") as file:
            file.write(f"{secrets.token_urlsafe(32)}\n")
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(draft)
    return True
