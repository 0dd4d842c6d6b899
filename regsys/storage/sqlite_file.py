"""Checks whether an SQLite database's file is still the one that was opened, and explains errors.

SQLite goes on using a file that was deleted, renamed or replaced: what it writes then is gone when
the process ends.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import sqlite3
import struct
import threading
import time
from typing import Optional, Sequence

# The files beside a database that has open connections. SQLite keeps them until the last connection
# is closed, and does not notice if another program removes them.
_COMMITTED_TO = ("-wal",)
_BESIDE = (*_COMMITTED_TO, "-shm")
# How long an earlier check is trusted before a call.
GOOD_FOR_S = 1.0

# The database header of SQLite's file format: the file change counter, which only grows, and the
# user version, which ``migrations._sign`` sets to a random number of this database.
_HEADER = 64
_MAGIC = b"SQLite format 3\0"
_COUNTER_AT, _MARK_AT = 24, 60

_DISK_FULL = ("full", "disk I/O error", "No space left")
_ADVICE = {
    **dict.fromkeys(_DISK_FULL, "make room there, or name a file on another disk"),
    "unable to open": "its folder must exist, and the user that regsys runs as may write to it",
    "readonly": "the user that regsys runs as must be able to write to it and to its folder",
    "not a database": "it is another program's file: name another one",
    "malformed": "it is damaged: restore a backup",
    "locked": "another program is using it",
}


def create_private(path: str) -> None:
    """Create the file, if there is none, so that no other user may ever read it. An existing file
    is not opened: closing any descriptor of it undoes SQLite's locks."""
    if path in ("", ":memory:"):
        return
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


class FileReplaced(sqlite3.OperationalError):
    """The file is not the one that was opened; the text says what has happened to it."""


Identity = tuple[int, int]


class _Descriptors:
    """One file descriptor per file, shared by the whole process. It is kept open, because closing
    any descriptor of a file releases SQLite's locks on it; only those of deleted files are closed.
    It leads to the file that was opened, even if the path leads to another one by now."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Identity, int] = {}

    def get(self, path: str) -> tuple[Identity, int]:
        with self._lock:
            for known, descriptor in list(self._open.items()):
                if not os.fstat(descriptor).st_nlink:
                    os.close(self._open.pop(known))
            identity = _identity(path)
            if identity is None or identity not in self._open:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                status = os.fstat(descriptor)
                identity = (status.st_dev, status.st_ino)
                self._open.setdefault(identity, descriptor)
            return identity, self._open[identity]


_descriptors = _Descriptors()


class DatabaseFile:
    """The file of one database, from its first opening. Thread-safe."""

    def __init__(self, path: str) -> None:
        self.is_on_disk = path not in ("", ":memory:")
        self.path = os.path.abspath(path) if self.is_on_disk else path
        self._lock = threading.Lock()
        self._identity: Optional[Identity] = None
        self._beside: dict[str, Identity] = {}
        self._descriptor: Optional[int] = None
        self._counter = 0
        self._mark = 0
        self._checked_s = -math.inf

    def open(self) -> None:
        """A connection has just been opened. Raises FileReplaced if it leads to another file."""
        if not self.is_on_disk:
            return
        with self._lock:
            # The previous connection may have been the last one: closing it removes these files.
            self._beside.clear()
        self.check()

    def check(self, beside: Sequence[str] = _BESIDE) -> None:
        """Raise FileReplaced if what is written now would not be in the file."""
        if not self.is_on_disk:
            return
        with self._lock:
            self._checked_s = -math.inf
            try:
                self._check_file()
                for suffix in beside:
                    self._check_beside(suffix)
                self._check_header()
            except OSError as error:
                raise FileReplaced(f"{self.path} cannot be read: {error.strerror}") from error
            self._checked_s = time.monotonic()

    def check_commit(self) -> None:
        """As ``check``, but only of the files that a commit writes to, which costs less."""
        self.check(_COMMITTED_TO)

    def check_sometimes(self) -> None:
        """As ``check``, unless a check has passed within GOOD_FOR_S."""
        if time.monotonic() - self._checked_s >= GOOD_FOR_S:
            self.check()

    def _check_beside(self, suffix: str) -> None:
        current = _identity(self.path + suffix)
        if current is not None:
            self._beside.setdefault(suffix, current)
        if current != self._beside.get(suffix):
            raise self._replaced(suffix, current)

    def _check_file(self) -> None:
        current = _identity(self.path)
        if self._identity is None:
            self._identity, self._descriptor = _descriptors.get(self.path)
        if current != self._identity:
            raise self._replaced("", current)

    def _check_header(self) -> None:
        """Notices when another file was copied over it."""
        assert self._descriptor is not None
        header = os.pread(self._descriptor, _HEADER, 0)
        if len(header) < _HEADER or not header.startswith(_MAGIC):
            if not self._counter:
                return  # a new file is still empty; one that is no database SQLite itself refuses
            raise self._overwritten()
        (counter,) = struct.unpack_from(">I", header, _COUNTER_AT)
        (mark,) = struct.unpack_from(">I", header, _MARK_AT)
        if counter < self._counter or (self._mark and mark != self._mark):
            raise self._overwritten()
        self._counter, self._mark = counter, mark

    def _replaced(self, suffix: str, current: Optional[Identity]) -> FileReplaced:
        happened, what = ("removed", "no") if current is None else ("replaced", "another")
        return FileReplaced(
            f"{self.path}{suffix} was {happened} while regsys was running"
            f" ({what} file is there now): put the very file back, or restart regsys"
        )

    def _overwritten(self) -> FileReplaced:
        return FileReplaced(
            f"{self.path} was overwritten while regsys was running: stop regsys, put a whole"
            f" database there, remove {self.path}-wal and {self.path}-shm, and start it again"
        )

    def explain(self, error: Exception) -> str:
        """The error, with the file, the free space on its disk and how to mend it."""
        message = str(error).strip()
        if isinstance(error, OSError):
            message = error.strerror or message
        if isinstance(error, FileReplaced) or not self.is_on_disk:
            return message
        advice = [text for fragment, text in _ADVICE.items() if fragment in message]
        if isinstance(error, OSError):
            advice.append(_ADVICE["unable to open"])
        if not advice:
            return message
        free_space = (
            self._free_space() if any(fragment in message for fragment in _DISK_FULL) else ""
        )
        return f"{message} (the SQLite file {self.path}{free_space}): {advice[0]}"

    def _free_space(self) -> str:
        try:
            free = shutil.disk_usage(os.path.dirname(self.path)).free
        except OSError:
            return ""
        return f"; {free / 1_000_000:,.1f} MB are free on its disk"


def _identity(path: str) -> Optional[Identity]:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino
