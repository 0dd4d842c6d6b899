"""Several processes of one service: a parent forks them, replaces those that end, and ends them.

The parent runs no reactor and no thread, so that it may fork at any time. It holds what must
outlive a process, such as the sockets that listen.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import socket
import sys
import time
import traceback
from types import FrameType
from typing import Callable, Optional

import attr
from twisted.logger import Logger

from regsys.processes.manager import NOBODY, Manager

# A process that ends sooner than this after its start counts as failing. The next one waits, twice
# as long each time, and after so many in a row the service ends.
FAILING_S = 10.0
MOST_FAILING = 5
FIRST_WAIT_S = 1.0
# From the signal on: what still runs then is killed.
END_S = 10.0

_ENDING = (signal.SIGTERM, signal.SIGINT)
_HANDLED = (*_ENDING, signal.SIGHUP, signal.SIGCHLD)
_READY = b"+"


@attr.frozen
class Place:
    """What a process is told when it begins. ``number`` counts from 1. ``replaces``: how the one
    before ended; "" for the first of this number."""

    number: int
    replaces: str
    _parent: socket.socket

    def fileno(self) -> int:
        """A descriptor that becomes readable when the process is to end: its parent says so, or has
        died."""
        return self._parent.fileno()

    def ready(self) -> None:
        """Tell the parent that this process serves."""
        # A parent that has ended does not hear it; ``fileno`` tells that.
        with contextlib.suppress(OSError):
            self._parent.send(_READY)


@attr.define(eq=False)
class _Child:
    number: int
    pid: int
    link: socket.socket
    started_s: float
    is_ready: bool = False


@attr.define(eq=False, kw_only=True)
class Prefork:
    """``count`` processes that each run ``child``, which returns their exit status.

    ``ready`` is called once all serve, ``closing`` when they are told to end. ``log`` must need no
    thread and no reactor. ``manager`` is told of both, and of a SIGHUP, by the parent alone.

    SIGTERM and SIGINT end the processes orderly, a second one kills them. SIGHUP is passed on. A
    child gets SIGTERM as its default, and should end orderly by it; SIGINT and SIGHUP are ignored.
    """

    count: int
    child: Callable[[Place], int]
    ready: Callable[[], None]
    closing: Callable[[], None]
    log: Logger
    manager: Manager = NOBODY
    _children: dict[int, _Child] = attr.field(init=False, factory=dict)
    # By number: when the next one starts, how often in a row it has failed, how the last one ended.
    _due_s: dict[int, float] = attr.field(init=False, factory=dict)
    _failures: dict[int, int] = attr.field(init=False, factory=dict)
    _ended: dict[int, str] = attr.field(init=False, factory=dict)
    _has_been_ready: bool = attr.field(init=False, default=False)
    # Set once it is to end: until when, and with which status.
    _until_s: Optional[float] = attr.field(init=False, default=None)
    _status: int = attr.field(init=False, default=0)
    _wakeup: tuple[socket.socket, socket.socket] = attr.field(init=False, factory=socket.socketpair)

    def run(self) -> int:
        """Returns the exit status when all processes have ended: 0 after a signal, if all ended
        orderly."""
        for end in self._wakeup:
            end.setblocking(False)
        for number in _HANDLED:
            signal.signal(number, _noticed)
        signal.set_wakeup_fd(self._wakeup[1].fileno(), warn_on_full_buffer=False)
        self._due_s = dict.fromkeys(range(1, self.count + 1), 0.0)
        try:
            while self._children or (self._due_s and self._until_s is None):
                self._start_due()
                self._wait()
                self._kill_late()
        finally:
            signal.set_wakeup_fd(-1)
            for end in self._wakeup:
                end.close()
        return self._status

    # --- Waiting ---------------------------------------------------------------------------

    def _wait(self) -> None:
        """Wait for a signal, a message of a child or the next time that something is due."""
        # Not epoll: its descriptor would be shared with the children.
        with selectors.PollSelector() as selector:
            selector.register(self._wakeup[0], selectors.EVENT_READ)
            for child in self._children.values():
                if not child.is_ready and self._until_s is None:
                    selector.register(child.link, selectors.EVENT_READ, child)
            found = [key.data for key, _ in selector.select(self._patience_s())]
        # Signals first: a child that a signal to the whole group has ended is not replaced.
        self._handle_signals()
        for child in found:
            if child is not None:
                self._hear(child)
        for child in list(self._children.values()):
            self._reap(child)

    def _patience_s(self) -> Optional[float]:
        times = [self._until_s] if self._until_s is not None else list(self._due_s.values())
        return max(0.0, min(times) - time.monotonic()) if times else None

    def _handle_signals(self) -> None:
        try:
            numbers = self._wakeup[0].recv(4096)
        except BlockingIOError:
            return
        for number in numbers:
            if number in _ENDING and self._until_s is None:
                self._end(0)
            elif number in _ENDING:
                self._kill("a second signal")
            elif number == signal.SIGHUP and self._has_been_ready and self._until_s is None:
                with self.manager.reloading():
                    self._hang_up()
            elif number == signal.SIGHUP:
                self._hang_up()

    def _hang_up(self) -> None:
        for child in self._children.values():
            os.kill(child.pid, signal.SIGHUP)

    def _hear(self, child: _Child) -> None:
        try:
            child.is_ready = child.link.recv(1) == _READY
        except OSError:
            return
        serving = sum(other.is_ready for other in self._children.values())
        if serving == self.count and not self._has_been_ready and self._until_s is None:
            self._has_been_ready = True
            self.ready()
            self.manager.ready()

    # --- Starting --------------------------------------------------------------------------

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for number, due_s in list(self._due_s.items()):
            if due_s <= now_s and self._until_s is None:
                del self._due_s[number]
                self._start(number)

    def _start(self, number: int) -> None:
        ours, theirs = socket.socketpair()
        sys.stdout.flush()
        sys.stderr.flush()
        # A signal between the fork and the child's own handlers would be taken for the parent's.
        signal.pthread_sigmask(signal.SIG_BLOCK, _HANDLED)
        try:
            pid = os.fork()
            if pid == 0:
                ours.close()
                self._become_child(Place(number, self._ended.get(number, ""), theirs))
        except OSError as error:
            ours.close()
            self._gone(number, f"could not be started ({error.strerror})")
            return
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            theirs.close()
        self._children[number] = _Child(number, pid, ours, time.monotonic())
        self.log.info(
            "process {number} of {count} is {pid}", number=number, count=self.count, pid=pid
        )

    def _become_child(self, place: Place) -> None:
        """Does not return."""
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
            # Else a sibling would not notice that the parent has closed its end.
            for link in (*self._wakeup, *(child.link for child in self._children.values())):
                link.close()
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _HANDLED)
            status = self.child(place)
        except SystemExit as ended:
            status = ended.code if isinstance(ended.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            try:
                sys.stdout.flush()
                sys.stderr.flush()
            finally:
                os._exit(status)

    # --- Ending ----------------------------------------------------------------------------

    def _reap(self, child: _Child) -> None:
        pid, wait_status = os.waitpid(child.pid, os.WNOHANG)
        if pid == 0:
            return
        status = os.waitstatus_to_exitcode(wait_status)
        child.link.close()
        del self._children[child.number]
        how = f"ended with status {status}"
        if status < 0:
            how = f"was ended by {signal.Signals(-status).name}"
        if self._until_s is not None:
            # One that did not serve yet has nothing to end orderly.
            was_told_early = status == -signal.SIGTERM and not child.is_ready
            if status != 0 and not was_told_early:
                self.log.warn("process {number} {how}", number=child.number, how=how)
                self._status = self._status or 1
        else:
            lived_s = time.monotonic() - child.started_s
            self._gone(child.number, how, lived_s, max(status, 1))

    def _gone(self, number: int, how: str, lived_s: float = 0.0, status: int = 1) -> None:
        """Replace a process that was not told to end, or give up with this status."""
        if not self._has_been_ready:
            self.log.error("process {number} {how} before all served", number=number, how=how)
            self._end(status)
            return
        failures = self._failures.get(number, 0) + 1 if lived_s < FAILING_S else 0
        self._failures[number], self._ended[number] = failures, how
        if failures >= MOST_FAILING:
            self.log.critical(
                "process {number} {how}: it has failed {failures} times in a row, giving up",
                number=number,
                how=how,
                failures=failures,
            )
            self._end(status)
            return
        wait_s = FIRST_WAIT_S * 2 ** (failures - 1) if failures else 0.0
        self._due_s[number] = time.monotonic() + wait_s
        self.log.error(
            "process {number} {how}: it is replaced in {wait:g} s",
            number=number,
            how=how,
            wait=wait_s,
        )

    def _end(self, status: int) -> None:
        self._status = status
        self._until_s = time.monotonic() + END_S
        self.log.info("ending {count} processes", count=len(self._children))
        self.manager.stopping()
        self.closing()
        # Not by a signal: systemd sends one to all processes of a service, and a second one could
        # be taken for impatience.
        for child in self._children.values():
            child.link.shutdown(socket.SHUT_RDWR)

    def _kill_late(self) -> None:
        if self._until_s is not None and self._children and time.monotonic() >= self._until_s:
            self._kill(f"{END_S:g} s")

    def _kill(self, after: str) -> None:
        """Kill all that still run, and wait for them."""
        self._status = self._status or 1
        for child in list(self._children.values()):
            self.log.warn(
                "process {number} is killed after {after}", number=child.number, after=after
            )
            os.kill(child.pid, signal.SIGKILL)
            os.waitpid(child.pid, 0)
            del self._children[child.number]


def _noticed(number: int, frame: Optional[FrameType]) -> None:
    """The number is written to the wakeup descriptor."""
