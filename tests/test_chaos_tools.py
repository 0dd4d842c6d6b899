"""The proxy, the killer and the checker do what they say, and depend on nothing of ours."""

from __future__ import annotations

import ast
import contextlib
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from textwrap import indent
from typing import Any, Mapping, Optional, Sequence

import attr
from twisted.trial.unittest import SynchronousTestCase

from tests.support import checker, killer, postgres, proxy
from tests.support.checker import Account, Told
from tests.support.killer import Killer, Program, sessions_of
from tests.support.patience import PATIENCE_S, until
from tests.support.ports import free_port
from tests.support.proxy import HOST, Cut, Proxy

QUESTION, ANSWER = b"0123456789", b"abcdefghij"


class Answering:
    """A server that answers QUESTION with ANSWER, again and again. ``heard``: all that has
    arrived."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.heard = b""
        self._listening = socket.create_server((HOST, 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()
        case.addCleanup(self._listening.close)
        case.addCleanup(self._listening.shutdown, socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            got = 0
            while data := client.recv(100):
                self.heard += data
                got += len(data)
                if got % len(QUESTION) == 0:
                    client.sendall(ANSWER)


class ProxyTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Answering(self)
        self.proxy = Proxy(self.server.port)
        self.addCleanup(self.proxy.close)

    def client(self) -> socket.socket:
        made = socket.create_connection((HOST, self.proxy.port), PATIENCE_S)
        self.addCleanup(made.close)
        return made

    def asked(self, client: Optional[socket.socket] = None) -> bytes:
        """What a client gets for a question, until the answer or the connection ends."""
        client, got = client or self.client(), b""
        with contextlib.suppress(ConnectionError):
            client.sendall(QUESTION)
            while len(got) < len(ANSWER):
                data = client.recv(100)
                if not data:
                    break
                got += data
        return got

    def test_request(self) -> None:
        """A request is cut after any number of bytes: the server has got those, the client
        nothing."""
        for after in range(len(QUESTION) + 1):
            self.server.heard = b""
            self.proxy.cut(Cut("request", after))
            self.assertEqual(self.asked(), b"")
            self.proxy.cut_all()
            until(lambda after=after: self.server.heard == QUESTION[:after])
        self.assertEqual(self.proxy.cuts, len(QUESTION) + 1)

    def test_answer(self) -> None:
        """So is an answer: the server has got all."""
        for after in range(len(ANSWER) + 1):
            self.server.heard = b""
            self.proxy.cut(Cut("answer", after))
            self.assertEqual(self.asked(), ANSWER[:after])
            self.assertEqual(self.server.heard, QUESTION)

    def test_exchanges(self) -> None:
        """Each exchange of a connection gets the next cut, or none."""
        client = self.client()
        self.proxy.cut(None, Cut("answer", 3))
        self.assertEqual([self.asked(client) for _ in range(2)], [ANSWER, ANSWER[:3]])
        self.assertEqual(self.asked(), ANSWER)
        self.assertEqual(self.proxy.made, 2)

    def test_silence(self) -> None:
        """A connection that falls silent stays open, and others work."""
        client = self.client()
        self.proxy.cut(Cut("answer", 3, stalls=True))
        client.sendall(QUESTION)
        self.assertEqual(client.recv(100), ANSWER[:3])
        client.settimeout(0.05)
        self.assertRaises(socket.timeout, client.recv, 100)
        self.assertEqual(self.asked(), ANSWER)

    def test_forgotten(self) -> None:
        """So does one that is forgotten, and all while the proxy is stalled."""
        client = self.client()
        self.assertEqual(self.asked(client), ANSWER)
        self.proxy.forget()
        self.proxy.is_stalled = True
        other = self.client()
        for silent in client, other:
            silent.settimeout(0.05)
            silent.sendall(QUESTION)
            self.assertRaises(socket.timeout, silent.recv, 100)
        self.proxy.is_stalled = False
        self.assertEqual(self.asked(other), ANSWER)

    def test_turns(self) -> None:
        """Of several servers each connection gets the next one; one that refuses is left out."""
        other, nobody = Answering(self), free_port()
        with Proxy(self.server.port, nobody, other.port) as turns:
            self.proxy.port, kept = turns.port, self.proxy.port
            self.assertEqual([self.asked() for _ in range(4)], [ANSWER] * 4)
            self.proxy.port = kept
            self.assertEqual(dict(turns.taken), {self.server.port: 2, nobody: 0, other.port: 2})


class KillerTests(SynchronousTestCase):
    def test_strikes(self) -> None:
        """It strikes until the block ends, or as often as it may."""
        strikes: list[None] = []
        with Killer(0.001, lambda: strikes.append(None)) as endless:
            until(lambda: len(endless.times) > 3)
        self.assertEqual(len(strikes), len(endless.times))
        with Killer(0.001, lambda: strikes.append(None), most=2) as bounded:
            until(lambda: not bounded._thread.is_alive())
        self.assertEqual(len(bounded.times), 2)

    def test_error(self) -> None:
        """A strike that fails fails the block."""

        def strike() -> None:
            raise ValueError("no such process")

        with self.assertRaises(ValueError), Killer(0.001, strike) as failing:
            until(lambda: not failing._thread.is_alive())

    def test_program(self) -> None:
        """A program is killed, and started again."""
        program = Program(lambda: subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1))
        self.addCleanup(lambda: program.process.communicate())
        before = program.process
        program.restart()
        assert before.stdin is not None
        before.stdin.close()
        self.assertEqual(before.returncode, -9)
        self.assertIsNone(program.process.poll())
        program.end()

    def test_sessions(self) -> None:
        """All sessions of one database are ended, and no other's."""
        import psycopg2

        args, other = (postgres.dsn(self) for _ in range(2))
        connections = [psycopg2.connect(**place) for place in (args, args, other)]
        self.assertEqual(sessions_of(args)(), 2)
        for connection in connections[:2]:
            self.assertRaises(psycopg2.Error, connection.cursor().execute, "SELECT 1")
        connections[2].cursor().execute("SELECT 1")
        connections[2].close()
        self.assertEqual(sessions_of({**args, "host": "/nowhere"})(), 0)


@attr.define
class Memory:
    """A homeserver in memory."""

    has: Sequence[Account]
    tokens: Mapping[str, str]
    parts: Mapping[str, Sequence[object]] = attr.field(factory=dict)

    def accounts(self) -> Sequence[Account]:
        return self.has

    def whose(self, token: str) -> Optional[str]:
        return self.tokens.get(token)

    def half_made(self) -> Mapping[str, Sequence[object]]:
        return self.parts


class CheckerTests(SynchronousTestCase):
    def broken(self, *has: Account, tokens: Any = None, **more: Any) -> dict[str, Any]:
        """With a client that was told of an account, and one that was not."""
        told = [
            Told("@alice:x", {"PHONE": "secret"}),
            Told("@bob:x", {}, unsure=1, is_made=False),
        ]
        valid = {"secret": "@alice:x"} if tokens is None else tokens
        return dict(checker.broken(told, Memory(has, valid, **more)))

    def test_sound(self) -> None:
        """Who was told has it; who was not told may have it."""
        alice = Account("@alice:x", ["PHONE"])
        self.assertEqual(self.broken(alice), {})
        self.assertEqual(self.broken(alice, Account("@bob:x", ["TABLET"])), {})

    def test_eachRule(self) -> None:
        """Each rule finds its fault."""
        alice = Account("@alice:x", ["PHONE"])
        found: dict[str, Any] = {
            **self.broken(alice, Account("@ALICE:x", [])),
            **self.broken(Account("@alice:x", ["PHONE", "SECOND"])),
            **self.broken(),
            **self.broken(alice, parts={"an account has a profile": ["@alice:x"]}),
        }
        self.assertEqual(
            found,
            {
                "a name belongs to one account": ["@alice:x"],
                "a client has made one account, and no other": ["@ALICE:x"],
                "a client has no more devices than it has asked for": [
                    ("@alice:x", "PHONE", "SECOND")
                ],
                "an account that a client was told of is there": ["@alice:x"],
                "a login that a client was told of is valid": [("@alice:x", "PHONE")],
                "an account has a profile": ["@alice:x"],
            },
        )
        for lost in (Account("@alice:x", []),), (alice,):
            tokens = {} if lost == (alice,) else None
            self.assertEqual(
                self.broken(*lost, tokens=tokens),
                {"a login that a client was told of is valid": [("@alice:x", "PHONE")]},
            )


class AloneTests(SynchronousTestCase):
    def test_imports(self) -> None:
        """Each can be copied elsewhere: it imports the standard library, and psycopg2 where that
        is wanted."""
        for module in checker, killer, proxy:
            tree = ast.parse(Path(module.__file__).read_text("utf-8"))
            names = {
                name.split(".")[0]
                for node in ast.walk(tree)
                for name in (
                    [alias.name for alias in node.names]
                    if isinstance(node, ast.Import)
                    else [node.module or ""]
                    if isinstance(node, ast.ImportFrom)
                    else []
                )
            }
            self.assertLessEqual(names - {"psycopg2"}, sys.stdlib_module_names, module)


class ExampleTests(SynchronousTestCase):
    def test_homeserver(self) -> None:
        """The example that docs/testing.md names holds what its clients were told."""
        page = (Path(__file__).parent.parent / "docs/testing.md").read_text("utf-8")
        self.assertIn("(examples/test_faults.py)", page)
        examples = Path(__file__).parent.parent / "docs/examples"
        shown = page.partition("(examples/test_faults.py)")[2].partition("```python\n")[2]
        self.assertIn(
            indent(shown.partition("```")[0], " " * 8), (examples / "test_faults.py").read_text()
        )
        folder = Path(self.mktemp()).absolute()
        with (folder.with_suffix(".output")).open("w+") as output:
            status = subprocess.run(
                [
                    sys.executable,
                    "-m",
                    "twisted.trial",
                    f"--temp-directory={folder}",
                    "test_faults",
                ],
                cwd=examples,
                env={**os.environ, "PYTHONPATH": str(examples.parents[1])},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                timeout=3 * PATIENCE_S,
            ).returncode
            output.seek(0)
            self.assertEqual(status, 0, output.read())
