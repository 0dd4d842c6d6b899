"""The checks before a start, and those of check-config (contract B15)."""

from __future__ import annotations

import logging
import os
import socket
import subprocess
from pathlib import Path
from typing import Any

import yaml
from twisted.trial.unittest import SynchronousTestCase

from regsys.cli import checks
from tests.cli.test_commands import CommandCase
from tests.support.ports import free_port
from tests.support.smtp_process import smtp_process
from tests.test_log_config import stock


class CheckCase(CommandCase):
    def setUp(self) -> None:
        super().setUp()
        root = logging.getLogger()
        self.addCleanup(setattr, root, "handlers", root.handlers[:])
        self.addCleanup(root.setLevel, root.level)

    def regsys(self, *arguments: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """As a process only if the command needs one of its own: each takes a second."""
        if arguments[0] == "serve" or "--connect" in arguments:
            return super().regsys(*arguments, stdin=stdin)
        return self.called(*arguments)

    def listener(self, **keys: Any) -> dict[str, Any]:
        served = {"type": "http", "resources": [{"names": ["client"]}]}
        return {"listeners": [{"port": 0, "bind_addresses": ["127.0.0.1"], **served, **keys}]}

    def refused(self, command: str, *more: str, **options: Any) -> str:
        """The output of a command that refuses these options; it has begun nothing."""
        done = self.regsys(command, "-c", self.config(**options), *more)
        self.assertEqual((done.returncode, done.stdout), (2, ""), done.stderr)
        self.assertNotIn("Traceback", done.stderr)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())
        return done.stderr


class StartTests(CheckCase):
    """Both serve and check-config refuse; neither has begun anything by then."""

    def test_refused(self) -> None:
        """A pid file that cannot be written, a socket path that is taken, TLS files that are
        invalid: all in one report, with the option and the remedy."""
        (self.folder / "taken").write_text("precious")
        (self.folder / "x.pem").write_text("no certificate")
        socket_listener = {"path": "taken", "resources": [{"names": ["client"]}]}
        options = {
            "pid_file": "gone/regsys.pid",
            "listeners": [
                *self.listener(tls=True)["listeners"],
                socket_listener,
                {**socket_listener, "path": "s" * 104},
            ],
            "tls_certificate_path": "x.pem",
            "tls_private_key_path": "x.pem",
        }
        for command in ("serve", "check-config"):
            errors = self.refused(command, **options)
            self.assertIn("pid_file: gone/regsys.pid: there is no directory gone — make it", errors)
            self.assertIn("listeners: path taken: something is there that is no socket — ", errors)
            self.assertIn("sss: longer than 103 bytes", errors)
            self.assertIn("tls_certificate_path: x.pem and x.pem", errors)
        self.assertEqual((self.folder / "taken").read_text(), "precious")

    def test_logConfig(self) -> None:
        """A log_config with which nothing could be logged."""
        broken = stock(self.folder)
        broken["formatters"]["precise"]["format"] = "%(reqest)s %(message)s"
        (self.folder / "log.yaml").write_text(yaml.safe_dump(broken))
        for command in ("serve", "check-config"):
            errors = self.refused(command, log_config="log.yaml", **self.listener())
            self.assertIn("log_config: log.yaml: handler 'file' cannot log: ", errors)
            self.assertIn("reqest", errors)

    def test_templates(self) -> None:
        """A template that cannot be rendered."""
        (self.folder / "theirs").mkdir()
        (self.folder / "theirs" / "refused.html").write_text("{{ nowhere }}")
        for command in ("serve", "check-config"):
            errors = self.refused(command, templates={"custom_template_directory": "theirs"})
            self.assertIn("the template 'refused.html' cannot be rendered", errors)


class SocketTests(SynchronousTestCase):
    def test_closedFolder(self) -> None:
        """A folder that regsys cannot write is no place for a socket, unless one is there, which
        systemd may hand over."""
        self.patch(checks.os, "access", lambda *arguments: False)
        path = f"/tmp/regsys-{os.getpid()}.c"
        self.assertIn("/tmp cannot be written", checks._socket_problem(path) or "")
        with socket.socket(socket.AF_UNIX) as held:
            held.bind(path)
            self.addCleanup(os.unlink, path)
            self.assertIsNone(checks._socket_problem(path))


class CheckTests(CheckCase):
    def test_lookedAt(self) -> None:
        """The output lists what was checked, and what was not; nothing is created or written."""
        (self.folder / "log.yaml").write_text(yaml.safe_dump(stock(self.folder)))
        (self.folder / "theirs").mkdir()
        config = self.config(
            log_config="log.yaml",
            pid_file="regsys.pid",
            registration_shared_secret_path="shared.key",
            templates={"custom_template_directory": "theirs"},
            **self.listener(),
        )
        before = sorted(path.name for path in self.folder.iterdir())
        done = self.regsys("check-config", "-c", config)
        self.assertEqual(done.returncode, 0, done.stderr)
        for part in (
            "The configuration is good.",
            "Looked at: homeserver.yaml, log_config (log.yaml), pid_file (regsys.pid), where it"
            " listens (port 0 of 127.0.0.1), the templates.",
            "Not looked at: the database and other servers, which --connect asks.",
        ):
            self.assertIn(part, done.stdout)
        self.assertIn("there is no shared.key yet: serve will make it", done.stderr)
        self.assertEqual(sorted(path.name for path in self.folder.iterdir()), before)

    def test_addresses(self) -> None:
        """An address that this machine does not have is refused; a port in use is reported, since
        regsys itself may be using it."""
        errors = self.refused("check-config", **self.listener(bind_addresses=["192.0.2.1"]))
        self.assertIn("listeners: bind address 192.0.2.1: Cannot assign requested address", errors)
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            config = self.config(**self.listener(port=port))
            done = self.regsys("check-config", "-c", config)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn(f"port {port} of 127.0.0.1 cannot be bound now", done.stderr)

    def test_connected(self) -> None:
        """With --connect every configured server is asked, and reported to have answered; the
        database is not created."""
        with smtp_process() as server:
            email = {
                "notif_from": "a@test.example",
                "smtp_host": "127.0.0.1",
                "smtp_port": server.port,
            }
            done = self.check(email=email)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("Reached: database (homeserver-regsys.db), email.smtp_host (", done.stdout)
        self.assertFalse((self.folder / "homeserver-regsys.db").exists())

    def test_notConnected(self) -> None:
        """A server that does not answer is reported by its option, with the reason and without a
        secret; all are asked."""
        port = free_port()
        nowhere = f"http://127.0.0.1:{port}"
        (self.folder / "homeserver-regsys.db").write_text("this is no database" * 100)
        done = self.check(
            email={"notif_from": "a@test.example", "smtp_host": "127.0.0.1", "smtp_port": port},
            regsys={
                "sms": {"url": f"{nowhere}/send?key=canary"},
                "homeserver": {"url": nowhere, "as_token": "canary"},
                "captcha": {
                    "kind": "hcaptcha",
                    "public_key": "p",
                    "private_key": "canary",
                    "siteverify_api": f"{nowhere}/check",
                },
            },
            enable_registration_captcha=True,
        )
        self.assertEqual((done.returncode, done.stdout), (1, ""), done.stderr)
        for part in (
            "database: homeserver-regsys.db: file is not a database",
            f"email.smtp_host: 127.0.0.1 port {port}: [Errno 111] Connection refused",
            f"regsys.sms.url: {nowhere}: Connection was refused",
            f"regsys.captcha.siteverify_api: {nowhere}: Connection was refused",
            f"regsys.homeserver.url: {nowhere}: Connection was refused",
        ):
            self.assertIn(f"regsys: {part}", done.stderr)
        self.assertNotIn("canary", done.stderr)

    def test_noPostgreSQL(self) -> None:
        """An unreachable PostgreSQL is reported like the others."""
        args = {"host": "127.0.0.1", "port": free_port(), "user": "regsys", "password": "canary"}
        done = self.check(database={"name": "psycopg2", "args": args})
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("regsys: database: PostgreSQL at 127.0.0.1, schema regsys: ", done.stderr)
        self.assertNotIn("canary", done.stderr)

    def check(self, **options: Any) -> subprocess.CompletedProcess[str]:
        config = self.config(**{**self.listener(), **options})
        done = self.regsys("check-config", "-c", config, "--connect")
        self.assertNotIn("Traceback", done.stderr)
        return done


class FolderTests(CheckCase):
    def test_folder(self) -> None:
        """A directory of files is read as one configuration."""
        folder = Path(self.folder / "conf.d")
        folder.mkdir()
        (folder / "server_name.yaml").write_text("server_name: folder.example\n")
        config = self.config(server_name="file.example", bcrypt_round=4)
        done = self.regsys("check-config", "-c", config, "-c", "conf.d")
        self.assertEqual(done.returncode, 0, done.stderr)
        errors = self.refused("check-config", "-c", "conf.d", bcrypt_round=4, session_lifetime="x")
        lines = errors.splitlines()
        self.assertIn("bcrypt_round is not an option: did you mean bcrypt_rounds?", lines[1])
        self.assertIn("session_lifetime: not a duration", lines[-1])
