"""The files and the example of master and workers in docs/workers.md work as they are printed."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Sequence

import yaml
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase

from regsys.config import load
from regsys.replication.writer import RemoteWriter
from tests.support import postgres
from tests.support.service_process import psycopg2

PAGE = Path(__file__).parent.parent / "docs/workers.md"


def blocks(language: str) -> Sequence[str]:
    """The blocks of code in the section about master and workers."""
    section = PAGE.read_text("utf-8").partition("## Master and workers\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.DOTALL | re.MULTILINE)


class MasterAndWorkersTests(SynchronousTestCase):
    def test_example(self) -> None:
        """The two files are a master's and its worker's, and the function returns a worker."""
        folder = Path(self.mktemp()).resolve()
        folder.mkdir()
        secret = folder / "replication_secret"
        secret.write_text("a secret")
        secret.chmod(0o600)
        main, worker = (yaml.safe_load(text) for text in blocks("yaml"))
        main.update(
            server_name="test.example",
            worker_replication_secret_path=str(secret),
            database=psycopg2(postgres.dsn(self)),
        )
        for name, options in (("homeserver", main), ("worker1", worker)):
            (folder / f"{name}.yaml").write_text(yaml.safe_dump(options))
        master = load([str(folder / "homeserver.yaml")])
        self.assertEqual([item.port for item in master.listeners], [8008, 9093])
        self.assertEqual(master.unused, ())
        (example,) = blocks("python")
        names: dict[str, Any] = {}
        self.addCleanup(os.chdir, os.getcwd())
        os.chdir(folder)
        exec(compile(example, str(PAGE), "exec"), names)  # noqa: S102 (our own page)
        subsystem = names["registration"](reactor)
        self.assertIsInstance(subsystem.handler._writer, RemoteWriter)
        assert subsystem.process.master is not None
        self.assertEqual(subsystem.process.master.http.host, "127.0.0.1:9093")
        subsystem.process.stop()
