"""The examples of README.md work as shown."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from tests.support.missing import not_tried
from tests.support.patience import PATIENCE_S
from tests.support.ports import free_port
from tests.support.service_process import ROOT, ServiceProcess, psycopg2, sqlite, write_config

SHOWN = "http://localhost:8008"
ANY = "…"


def transcripts() -> list[list[tuple[str, str]]]:
    """Each console block of README.md as (command, answer) pairs."""
    blocks = re.findall(r"```console\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    return [re.findall(r"^\$ (.*)\n(.*)$", block, re.MULTILINE) for block in blocks]


class CurlTests(SynchronousTestCase):
    def setUp(self) -> None:
        if shutil.which("curl") is None:
            not_tried(self, "curl is not on this machine.")


class TranscriptTests(CurlTests):
    """The curl commands, run in their order against a service."""

    def run_transcripts(self, base_url: str) -> int:
        """Returns how many commands were run. ``$name`` stands for a value of that name in an
        earlier answer, ``…`` for anything."""
        known: dict[str, str] = {"server": "localhost"}
        count = 0
        for transcript in transcripts():
            for command, expected in transcript:
                for name, value in known.items():
                    command = command.replace(f"${name}", value)
                arguments = shlex.split(command.replace(SHOWN, base_url))
                done = subprocess.run(
                    arguments, capture_output=True, text=True, check=True, timeout=PATIENCE_S
                )
                pattern = re.escape(expected).replace(re.escape(ANY), ".+")
                printed = done.stdout.replace(":test.example", ":localhost")
                printed = printed.replace(
                    '"home_server":"test.example"', '"home_server":"localhost"'
                )
                self.assertRegex(printed, f"^{pattern}$", command)
                answer: dict[str, Any] = json.loads(done.stdout)
                known.update({key: str(value) for key, value in answer.items()})
                count += 1
        return count

    def start(self, database: Any) -> ServiceProcess:
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        return ServiceProcess(self, write_config(folder, database(folder)))

    def test_sqlite(self) -> None:
        """On SQLite every command of the README has the answer that it shows."""
        service = self.start(sqlite)
        self.assertGreaterEqual(self.run_transcripts(service.base_url), 8)

    def test_postgresql(self) -> None:
        """So it has on PostgreSQL."""
        from tests.support import postgres

        args = postgres.dsn(self)
        service = self.start(lambda folder: psycopg2(args))
        self.assertGreaterEqual(self.run_transcripts(service.base_url), 8)


class DemonstrationTests(CurlTests):
    def test_serveWithNothingConfigured(self) -> None:
        """``regsys serve`` alone explains itself, and the command that it prints registers."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        # The demo's port may be taken: any free one will do.
        port = free_port()
        service = ServiceProcess(self, cwd=folder, options=["--port", str(port)])
        introduction = service.output
        self.assertIn("on this machine only, open for registration", introduction)
        self.assertIn("this is not a homeserver", introduction)
        command = re.search(r"^ *(curl .*)$", introduction, re.MULTILINE)
        assert command is not None, introduction
        printed = command[1]
        self.assertIn(f"http://localhost:{port}/", printed)
        done = subprocess.run(
            shlex.split(printed), capture_output=True, text=True, timeout=PATIENCE_S
        )
        self.assertEqual(json.loads(done.stdout)["user_id"], "@alice:localhost")
