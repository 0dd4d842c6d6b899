"""Sockets that systemd hands over, and which listener gets which: without processes."""

from __future__ import annotations

import fcntl
import os
import socket
from typing import Sequence

from twisted.trial.unittest import SynchronousTestCase

from regsys.config import Listener
from regsys.processes import activation, listening
from regsys.processes.activation import CannotListen, Inherited
from regsys.processes.listening import Bound

LOCAL = ("127.0.0.1",)
# Descriptors that nothing else has.
FIRST = 500


class ActivationTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.patch(activation, "FIRST", FIRST)
        self.path = f"/tmp/regsys-{os.getpid()}.a"
        self.addCleanup(lambda: os.path.exists(self.path) and os.unlink(self.path))

    def tcp(self, host: str = "127.0.0.1") -> socket.socket:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.create_server((host, 0), family=family)
        self.addCleanup(made.close)
        return made

    def unix(self) -> socket.socket:
        made = socket.socket(socket.AF_UNIX)
        self.addCleanup(made.close)
        made.bind(self.path)
        made.listen()
        return made

    def environment(self, *held: socket.socket, **changed: str) -> dict[str, str]:
        """With copies of these at the descriptors that are handed over."""
        for place, it in enumerate(held):
            copy = fcntl.fcntl(it.fileno(), fcntl.F_DUPFD, FIRST + place)
            self.assertEqual(copy, FIRST + place)
        return {
            "LISTEN_PID": str(os.getpid()),
            "LISTEN_FDS": str(len(held)),
            "LISTEN_FDNAMES": ":".join(f"s{place}" for place in range(len(held))),
            "HOME": "/",
            **changed,
        }

    def inherited(self, *held: socket.socket) -> Inherited:
        return Inherited.from_environment(self.environment(*held))

    def bind(self, given: Inherited, *listeners: Listener) -> Sequence[Bound]:
        bound = listening.bind(listeners, given)
        for item in bound:
            self.addCleanup(item.close)
        return bound

    def test_adopted(self) -> None:
        """Each listener gets the socket of its address, in whatever order they come; one that has
        none binds its own. A socket's file is systemd's."""
        tcp, unix = self.tcp(), self.unix()
        port = tcp.getsockname()[1]
        bound = self.bind(
            self.inherited(tcp, unix),
            Listener(path=self.path),
            Listener(port=0, bind_addresses=LOCAL),
            Listener(port=port, bind_addresses=("localhost",)),
        )
        numbers = [item.socket.fileno() for item in bound]
        self.assertEqual([numbers[0], numbers[2]], [FIRST + 1, FIRST])
        self.assertEqual([item.lasts for item in bound], [True, False, True])
        for item in bound:
            self.assertEqual((item.socket.getblocking(), item.socket.get_inheritable()), (0, 0))
            item.remove_file()
        self.assertTrue(os.path.exists(self.path))

    def test_allInterfaces(self) -> None:
        """What ``ListenStream=8009`` binds is that of a listener without addresses."""
        it = self.tcp("::")
        every = Listener(port=it.getsockname()[1], bind_addresses=("::", "0.0.0.0"))  # noqa: S104
        bound = self.bind(self.inherited(it), every)
        self.assertEqual(bound[0].socket.fileno(), FIRST)

    def test_variables(self) -> None:
        """They are removed, so that no child takes them for its own; those for another process are
        ignored."""
        it = self.tcp()
        for pid, count in ((os.getpid(), 1), (os.getppid(), 0), ("", 0)):
            environment = self.environment(LISTEN_FDS="1", LISTEN_PID=str(pid))
            if count:
                environment = self.environment(it)
            found = Inherited.from_environment(environment)
            self.assertEqual(environment, {"HOME": "/"})
            self.assertEqual(len(found._sockets), count)
            found.close()

    def test_noListener(self) -> None:
        """A socket that no listener has is an error that names it, and nothing stays bound."""
        one, other, unix = self.tcp(), self.tcp(), self.unix()
        port, lost = one.getsockname()[1], other.getsockname()[1]
        given = self.inherited(one, other, unix)
        listener = Listener(port=port, bind_addresses=LOCAL)
        error = self.assertRaises(CannotListen, listening.bind, [listener], given)
        self.assertIn(f"bound port {lost} of 127.0.0.1 (s1), {self.path} (s2) for", str(error))
        for number in range(FIRST, FIRST + 3):
            self.assertRaises(OSError, os.fstat, number)

    def test_notUsable(self) -> None:
        """What is no socket that listens is an error that says what the unit must say."""
        ours, theirs = socket.socketpair()
        for it in (ours, theirs):
            self.addCleanup(it.close)
        for held, count, part in (
            ((), "1", f"counts descriptor {FIRST}, which is no socket"),
            ((), "many", "LISTEN_FDS is no number: 'many'"),
            ((ours,), "1", "must have ListenStream=, and Accept=no"),
        ):
            environment = self.environment(*held, LISTEN_FDS=count)
            error = self.assertRaises(CannotListen, Inherited.from_environment, environment)
            self.assertIn(part, str(error))
