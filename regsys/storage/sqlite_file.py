"""Whether an SQLite database's file is still the one that was opened, and what ails it.

SQLite goes on with a file that was deleted, renamed or replaced, as if nothing had happened: what
it writes then is gone when the process ends.
"""

from __future__ import annotations

import math
import os
import shutil
import sqlite3
import struct
import threading
import time
from typing import Optional, Sequence

# What lies beside a database whose connections are open. SQLite leaves it there until the last
# of them is closed, and takes no notice if somebody else removes it.
_COMMITTED_TO = ("-wal",)
_BESIDE = (*_COMMITTED_TO, "-shm")
# A call that only reads trusts an earlier check for so long.
GOOD_FOR_S = 1.0

# The database header, as SQLite's file format has it: a count that only grows, and a number of
# the application's own, which ``sign`` makes a mark of this database.
_HEADER = 64
_MAGIC = b"SQLite format 3\0"
_COUNTER_AT, _MARK_AT = 24, 60

_NO_ROOM = ("full", "disk I/O error", "No space left")
_MENDS = {
    **dict.fromkeys(_NO_ROOM, "make room there, or name a file on another disk"),
    "unable to open": "its folder must exist, and the user that regsys runs as may write to it",
    "readonly": "the user that regsys runs as must be able to write to it and to its folder",
    "not a database": "it is another program's file: name another one",
    "malformed": "it is damaged: restore a backup",
    "locked": "another program is using it",
}


class FileReplaced(sqlite3.OperationalError):
    """The file is not the one that was opened; the text says what has become of it."""


Identity = tuple[int, int]


class _Descriptors:
    """One descriptor a file, for all of a process. It is kept open, because to close any descriptor
    of a file undoes SQLite's locks on it; only files that were deleted are let go. What it leads to
    is what was opened, whatever the path does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[Identity, int] = {}

    def of(self, path: str) -> tuple[Identity, int]:
        with self._lock:
            for identity, descriptor in list(self._open.items()):
                if not os.fstat(descriptor).st_nlink:
                    os.close(self._open.pop(identity))
            found = _identity(path)
            if found is None or found not in self._open:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
                status = os.fstat(descriptor)
                found = (status.st_dev, status.st_ino)
                self._open.setdefault(found, descriptor)
            return found, self._open[found]


_descriptors = _Descriptors()


class DatabaseFile:
    """One database's file, from the first time it is opened. For all threads of a process."""

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
        """A connection has just been made. Raises FileReplaced if it leads to another file."""
        if not self.is_on_disk:
            return
        with self._lock:
            # The connection before may have been the last one, with which these go.
            self._beside.clear()
        self.check()

    def check(self, beside: Sequence[str] = _BESIDE) -> None:
        """Raises FileReplaced unless what is written now is in the file."""
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
        """The same, of what matters to a commit that has just been made; at a lower price."""
        self.check(_COMMITTED_TO)

    def check_sometimes(self) -> None:
        """The same, unless that was found good a moment ago."""
        if time.monotonic() - self._checked_s >= GOOD_FOR_S:
            self.check()

    def _check_beside(self, suffix: str) -> None:
        found = _identity(self.path + suffix)
        if found is not None:
            self._beside.setdefault(suffix, found)
        if found != self._beside.get(suffix):
            raise self._replaced(suffix, found)

    def _check_file(self) -> None:
        found = _identity(self.path)
        if self._identity is None:
            self._identity, self._descriptor = _descriptors.of(self.path)
        if found != self._identity:
            raise self._replaced("", found)

    def _check_header(self) -> None:
        """Somebody may have copied another file over it."""
        assert self._descriptor is not None
        header = os.pread(self._descriptor, _HEADER, 0)
        if len(header) < _HEADER or not header.startswith(_MAGIC):
            if not self._counter:
                return  # a new one has nothing in it yet, and what is none SQLite refuses itself
            raise self._overwritten()
        (counter,) = struct.unpack_from(">I", header, _COUNTER_AT)
        (mark,) = struct.unpack_from(">I", header, _MARK_AT)
        if counter < self._counter or (self._mark and mark != self._mark):
            raise self._overwritten()
        self._counter, self._mark = counter, mark

    def _replaced(self, suffix: str, found: Optional[Identity]) -> FileReplaced:
        what = "another file" if found is not None else "no file"
        return FileReplaced(
            f"{self.path}{suffix} was {'replaced' if found else 'removed'} while regsys was running"
            f" ({what} is there now): put the very file back, or restart regsys"
        )

    def _overwritten(self) -> FileReplaced:
        return FileReplaced(
            f"{self.path} was overwritten while regsys was running: stop regsys, put a whole"
            f" database there, remove {self.path}-wal and {self.path}-shm, and start it again"
        )

    def explain(self, error: Exception) -> str:
        """What went wrong, with the file, the room on its disk and a way out."""
        message = str(error).strip()
        if isinstance(error, OSError):
            message = error.strerror or message
        if isinstance(error, FileReplaced) or not self.is_on_disk:
            return message
        mends = [mend for fragment, mend in _MENDS.items() if fragment in message]
        if isinstance(error, OSError):
            mends.append(_MENDS["unable to open"])
        if not mends:
            return message
        room = self._room() if any(fragment in message for fragment in _NO_ROOM) else ""
        return f"{message} (the SQLite file {self.path}{room}): {mends[0]}"

    def _room(self) -> str:
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
